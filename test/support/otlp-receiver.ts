import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { gunzipSync } from "node:zlib";

/** The relevant fields of a span in OTLP's JSON. */
export interface Span {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  /** 2: server, 3: client. */
  readonly kind: number;
}

/** Receives what OpenTelemetry exports with OTEL_EXPORTER_OTLP_PROTOCOL=http/json. */
export interface OtlpReceiver {
  readonly url: string;
  readonly spans: readonly Span[];
  /** All received bodies. */
  readonly text: () => string;
  stop(): Promise<void>;
}

interface Traces {
  readonly resourceSpans?: readonly { readonly scopeSpans?: readonly { readonly spans?: readonly Span[] }[] }[];
}

export async function startOtlpReceiver(): Promise<OtlpReceiver> {
  const spans: Span[] = [];
  const bodies: string[] = [];
  const server = createServer((request, response) => {
    const take = async (): Promise<void> => {
      const body = await readBody(request);
      bodies.push(body);
      if (request.url === "/v1/traces") {
        const { resourceSpans = [] } = JSON.parse(body) as Traces;
        spans.push(...resourceSpans.flatMap((one) => one.scopeSpans ?? []).flatMap((one) => one.spans ?? []));
      }
      response.writeHead(200, { "content-type": "application/json" }).end("{}");
    };
    take().catch((error: unknown) => response.destroy(error as Error));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    spans,
    text: () => bodies.join("\n"),
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const bytes = Buffer.concat(chunks);
  return (request.headers["content-encoding"] === "gzip" ? gunzipSync(bytes) : bytes).toString();
}
