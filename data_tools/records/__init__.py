"""What a record is: writing, reports, shards, inspection."""
