// A process that replies to every batch or stream message with the same prepared reply, to measure the maximum load of a load client.
// Its argument is the number of transfers in a batch; it reports its address over IPC.
import { createServer, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";
import { StreamTransfersRequest } from "../../generated/grey/transaction/v1/batch.js";
import { TransactionServiceService } from "../../generated/grey/transaction/v1/transaction_service.js";
import { cannedReply, cannedStreamReply } from "./canned-reply.js";
import { FRAME_HEADER_BYTES } from "./frames.js";

const STREAM_PATH = TransactionServiceService.streamTransfers.path;
const items = Number(process.argv[2] ?? "1");
const replies = new Map<string, Buffer>();

const server = createServer({ settings: { initialWindowSize: 1 << 24 } });
server.on("session", (session) => session.setLocalWindowSize(1 << 24));
server.on("stream", (stream, headers) => {
  const path = headers[":path"] ?? "";
  stream.on("error", () => undefined);
  stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
  if (path === STREAM_PATH) answerStream(stream);
  else answerCall(stream, path);
});
server.listen(0, "127.0.0.1", () => {
  process.send?.({ address: `127.0.0.1:${(server.address() as AddressInfo).port}` });
});
process.once("disconnect", () => process.exit(0));

function answerCall(stream: ServerHttp2Stream, path: string): void {
  const reply = replies.get(path) ?? cannedReply(path, items);
  replies.set(path, reply);
  stream.resume();
  stream.on("end", () => {
    respond(stream);
    stream.end(reply);
  });
}

function answerStream(stream: ServerHttp2Stream): void {
  let rest: Buffer = Buffer.alloc(0);
  respond(stream);
  stream.on("data", (chunk: Buffer) => {
    const bytes = Buffer.concat([rest, chunk]);
    const answers: Buffer[] = [];
    let offset = 0;
    while (bytes.length - offset >= FRAME_HEADER_BYTES) {
      const end = offset + FRAME_HEADER_BYTES + bytes.readUInt32BE(offset + 1);
      if (end > bytes.length) break;
      answers.push(streamReply(bytes.subarray(offset + FRAME_HEADER_BYTES, end)));
      offset = end;
    }
    rest = bytes.subarray(offset);
    if (answers.length > 0) stream.write(Buffer.concat(answers));
  });
  stream.on("end", () => stream.end());
}

const streamReplies = new Map<bigint, Buffer>();

function streamReply(message: Buffer): Buffer {
  const { correlation } = StreamTransfersRequest.decode(message);
  const reply = streamReplies.get(correlation) ?? cannedStreamReply(correlation);
  streamReplies.set(correlation, reply);
  return reply;
}

function respond(stream: ServerHttp2Stream): void {
  stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
}
