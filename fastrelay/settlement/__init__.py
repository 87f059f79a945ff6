"""Room 6, what became of it: classify, when to retry, what to tell the sender, and settle, which writes it all down."""
