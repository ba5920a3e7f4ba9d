"""Programs that lose their digits, their twins that do not, and what is true of both."""
