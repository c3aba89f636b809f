import { Client } from "pg";
import { openSession, ownerPlan } from "../session.js";
import { readPassword } from "./cluster.js";
import type { Place } from "./place.js";

/** Long enough for CREATE DATABASE on a busy disk. */
const QUERY_MS_MAX = 120_000;
const CONNECT_MS_MAX = 15_000;

/** Connects to the embedded PostgreSQL as its superuser. */
export async function connectAsAdmin(place: Place, port: number): Promise<Client> {
  const client = new Client({
    host: "127.0.0.1",
    port,
    user: "postgres",
    password: await readPassword(place),
    database: "postgres",
    application_name: "grey-embedded",
    ssl: false,
    connectionTimeoutMillis: CONNECT_MS_MAX,
    query_timeout: QUERY_MS_MAX,
  });
  // Without a listener, a connection that breaks between two queries would end the process.
  client.on("error", () => undefined);
  await client.connect();
  await openSession(client, ownerPlan(QUERY_MS_MAX));
  return client;
}

/** Creates the database `grey` unless it exists. */
export async function ensureDatabase(place: Place, port: number): Promise<void> {
  const client = await connectAsAdmin(place, port);
  try {
    const { rowCount } = await client.query("SELECT 1 FROM pg_database WHERE datname = 'grey'");
    if (rowCount === 0) await client.query("CREATE DATABASE grey");
  } finally {
    await client.end().catch(() => undefined);
  }
}
