"""`ipt preflight`: what would end a run after an hour, found in seconds."""
