// A process that replies to every Transfer with the same prepared reply, over a plain socket, to measure the maximum load of a load
// client. It reports its address over IPC.
import { createServer, type AddressInfo, type Socket } from "node:net";
import { TransactionServiceService } from "../../generated/grey/transaction/v1/transaction_service.js";
import { cannedReply } from "./canned-reply.js";
import {
  eachFrame,
  FLAG,
  FRAME,
  frameHeader,
  literal,
  PREFACE,
  SETTING,
  settingsFrame,
  WINDOW_DEFAULT,
  WINDOW_MAX,
  windowUpdate,
} from "./raw-http2.js";

const REPLY = replyFrames();
/** The offsets of the stream id in the three frames of the reply. */
const STREAM_PLACES = REPLY.starts.map((start) => start + 5);

const server = createServer((socket) => {
  socket.setNoDelay(true);
  socket.on("error", () => socket.destroy());
  serve(socket);
});
server.listen(0, "127.0.0.1", () => {
  process.send?.({ address: `127.0.0.1:${(server.address() as AddressInfo).port}` });
});
process.once("disconnect", () => process.exit(0));

function serve(socket: Socket): void {
  let rest: Buffer = Buffer.alloc(0);
  let isGreeted = false;
  let received = 0;
  socket.write(
    Buffer.concat([
      settingsFrame([[SETTING.INITIAL_WINDOW_SIZE, WINDOW_MAX]]),
      windowUpdate(WINDOW_MAX - WINDOW_DEFAULT),
    ]),
  );
  socket.on("data", (chunk: Buffer) => {
    let bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    if (!isGreeted && bytes.length >= PREFACE.length) {
      isGreeted = true;
      bytes = bytes.subarray(PREFACE.length);
    }
    const answers: Buffer[] = [];
    rest = eachFrame(bytes, (type, flags, stream, payload) => {
      if (type === FRAME.DATA) received += payload.length;
      if (type === FRAME.DATA && (flags & FLAG.END_STREAM) !== 0) answers.push(answerTo(stream));
      if (type === FRAME.SETTINGS && (flags & FLAG.ACK) === 0)
        answers.push(frameHeader(0, FRAME.SETTINGS, FLAG.ACK, 0));
    });
    if (received > WINDOW_MAX / 4) {
      answers.push(windowUpdate(received));
      received = 0;
    }
    if (answers.length > 0) socket.write(Buffer.concat(answers));
  });
}

function answerTo(stream: number): Buffer {
  const answer = Buffer.from(REPLY.bytes);
  for (const place of STREAM_PLACES) answer.writeUInt32BE(stream, place);
  return answer;
}

function replyFrames(): { readonly bytes: Buffer; readonly starts: readonly number[] } {
  const message = cannedReply(TransactionServiceService.transfer.path, 1);
  const statusOk = Buffer.from([0x88]);
  const headers = Buffer.concat([statusOk, literal("content-type", "application/grpc")]);
  const trailers = literal("grpc-status", "0");
  const frames = [
    Buffer.concat([frameHeader(headers.length, FRAME.HEADERS, FLAG.END_HEADERS, 0), headers]),
    Buffer.concat([frameHeader(message.length, FRAME.DATA, 0, 0), message]),
    Buffer.concat([frameHeader(trailers.length, FRAME.HEADERS, FLAG.END_HEADERS | FLAG.END_STREAM, 0), trailers]),
  ];
  const starts = frames.map((_, index) => frames.slice(0, index).reduce((sum, frame) => sum + frame.length, 0));
  return { bytes: Buffer.concat(frames), starts };
}
