"""The words: values every room speaks in. No I/O, no clock, no imports from other rooms."""
