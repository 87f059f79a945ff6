"""Room 4, when: items wait by domain and time, enter the lane of their site when due, and are picked one by one."""
