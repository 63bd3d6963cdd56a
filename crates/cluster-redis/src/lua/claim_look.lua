-- ARGV: now.
return kept(KEYS[1], now_of(ARGV[1])) or false
