"""Room 5, the road: hosts in order, connections that satisfy a Demand, limits kept, one transaction at a time."""
