# Save as quickstart.py and run it: pip install websockets && python3 quickstart.py
import asyncio, base64, json, urllib.request
import websockets

KEY = "{{KEY}}"
SERVER = "{{SERVER}}"


def create_session():
    """A customer who speaks English, an agent who speaks Spanish."""
    body = {"mode": "bidirectional_translation", "source_language": "en",
            "target_language": "es"}
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{SERVER}/v1/sessions", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


async def speak(stream):
    """Sends a recording, mu-law at 8 kHz, and two seconds of silence, for the end to be noticed."""
    audio = urllib.request.urlopen(f"{SERVER}/portal/speech.ulaw").read() + b"\xff" * 16000
    for at in range(0, len(audio), 800):
        payload = base64.b64encode(audio[at:at + 800]).decode()
        await stream.send(json.dumps({
            "type": "audio.input", "speaker": "customer",
            "sequence": at // 800, "timestamp_ms": at // 8,
            "audio": {"encoding": "mulaw", "sample_rate_hz": 8000, "payload": payload},
        }))
        await asyncio.sleep(0.1)
    await stream.send(json.dumps({"type": "session.end"}))


async def main():
    session = create_session()
    print("session", session["id"])
    url, token = session["stream"]["url"], session["stream"]["token"]
    async with websockets.connect(f"{url}?token={token}") as stream:
        async for text in stream:
            message = json.loads(text)
            if message["type"] == "session.ready":
                speaking = asyncio.create_task(speak(stream))
            elif message["type"] == "transcript.final":
                print(message["text"], " → ", (message.get("translation") or {}).get("text"))
            elif message["type"] == "session.error":
                print("note:", message["message"])
        await speaking

asyncio.run(main())
