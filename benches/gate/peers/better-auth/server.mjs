// better-auth's API-key plugin behind plain node http: one key verified per request, in one process.
// Arguments: the port, a folder for the database, the length of the answer's body. The key is written to FOLDER/key.
//
// To its favour: a write-ahead log without a sync per commit, logging and telemetry off, no router or web framework before it.
import { writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { apiKey } from "@better-auth/api-key";
import { betterAuth } from "better-auth";
import { getMigrations } from "better-auth/db/migration";
import Database from "better-sqlite3";

const [port, folder, length] = process.argv.slice(2);
const database = new Database(`${folder}/better-auth.db`);
database.pragma("journal_mode = WAL");
database.pragma("synchronous = NORMAL");

const auth = betterAuth({
  database,
  secret: "0123456789abcdef0123456789abcdef",
  baseURL: `http://127.0.0.1:${port}`,
  emailAndPassword: { enabled: true },
  logger: { disabled: true },
  telemetry: { enabled: false },
  plugins: [apiKey({ rateLimit: { enabled: true, timeWindow: 60_000, maxRequests: 1_000_000_000 } })],
});
const { runMigrations } = await getMigrations(auth.options);
await runMigrations();
const { user } = await auth.api.signUpEmail({
  body: { name: "Acme", email: "acme@example.com", password: "correct horse battery staple" },
});
const { key } = await auth.api.createApiKey({ body: { userId: user.id } });
writeFileSync(`${folder}/key`, key);

const body = JSON.stringify({ organization: user.id, padding: "" });
const padded = JSON.stringify({ organization: user.id, padding: "x".repeat(Math.max(0, Number(length) - body.length)) });

createServer(async (request, response) => {
  const { valid, key } = await auth.api.verifyApiKey({ body: { key: request.headers["x-api-key"] ?? "" } });
  if (!valid) {
    response.writeHead(401, { "Content-Type": "application/json" }).end('{"error":{"type":"authentication_error"}}');
    return;
  }
  response
    .writeHead(200, {
      "Content-Type": "application/json",
      "Content-Length": padded.length,
      "X-RateLimit-Remaining": key.rateLimitMax - key.requestCount,
    })
    .end(padded);
}).listen(Number(port), "127.0.0.1");
