export KALLGLOT_API_KEY="{{KEY}}"

# 1. Create a session: a customer who speaks English, an agent who speaks Spanish.
curl -s {{SERVER}}/v1/sessions \
  -H "Authorization: Bearer $KALLGLOT_API_KEY" -H "Content-Type: application/json" \
  -d '{"mode": "bidirectional_translation", "source_language": "en", "target_language": "es"}'

# 2. Speak. Audio goes over a WebSocket, which curl does not have. kallglot's own
#    command line does; it makes a session by itself.
curl -s {{SERVER}}/portal/speech.wav -o speech.wav
kallglot call --server {{SERVER}} --file speech.wav --from en --to es
