import { alignUp } from './checks.js';
import { type CombineFormat, type DispatchMode, type PayloadFormat, SCALE_BLOCK } from './config.js';

/** What decides how many bytes a message has. */
export interface MessageShape {
  readonly mode: DispatchMode;
  readonly hidden: number;
  readonly topK: number;
  readonly payload: PayloadFormat;
  readonly combinePayload: CombineFormat;
}

/** Byte offsets inside a message, and its size. Fields of 4 bytes lie at multiples of 4. */
export interface MessageFormat {
  /** Bytes of one message. */
  readonly bytes: number;
  /** Two i32: normal modes (source rank, source token), low latency (source token, local expert). -1: no such field. */
  readonly metaOffset: number;
  /** K i32 expert ids, -1 when the message has none. */
  readonly expertsOffset: number;
  /** K f32 weights, -1 when the message has none. */
  readonly weightsOffset: number;
  /** f32 scales, one for each 128 channels. */
  readonly scalesOffset: number;
  readonly scales: number;
  readonly dataOffset: number;
  readonly dataBytes: number;
}

/** Bytes of the elements of one row. */
export function rowBytes(format: PayloadFormat, hidden: number): number {
  return format === 'f32' ? hidden * 4 : format === 'bf16' ? hidden * 2 : hidden;
}

const META_BYTES = 8;
const LOW_LATENCY_HEADER_BYTES = 16;
const MESSAGE_ALIGNMENT = 16;

/**
 * A dispatch message. Normal modes: data + scales + 8 bytes of source + K (i32 expert, f32 weight), rounded up to 16
 * (DeepEP's internode message); low latency: 16 bytes of header + scales + data.
 */
export function dispatchMessage(shape: MessageShape): MessageFormat {
  const scales = shape.payload === 'fp8' ? shape.hidden / SCALE_BLOCK : 0;
  const dataBytes = rowBytes(shape.payload, shape.hidden);
  if (shape.mode === 'low-latency') {
    const dataOffset = LOW_LATENCY_HEADER_BYTES + 4 * scales;
    return {
      bytes: dataOffset + dataBytes,
      metaOffset: 0,
      expertsOffset: -1,
      weightsOffset: -1,
      scalesOffset: LOW_LATENCY_HEADER_BYTES,
      scales,
      dataOffset,
      dataBytes,
    };
  }
  const weightsOffset = META_BYTES + 4 * shape.topK;
  const scalesOffset = weightsOffset + 4 * shape.topK;
  const dataOffset = scalesOffset + 4 * scales;
  return {
    bytes: alignUp(dataOffset + dataBytes, MESSAGE_ALIGNMENT),
    metaOffset: 0,
    expertsOffset: META_BYTES,
    weightsOffset,
    scalesOffset,
    scales,
    dataOffset,
    dataBytes,
  };
}

/** A combine message. Normal modes: data + 8 bytes of source + K f32 weights, rounded up to 16; low latency: the row alone. */
export function combineMessage(shape: MessageShape): MessageFormat {
  const dataBytes = rowBytes(shape.combinePayload, shape.hidden);
  if (shape.mode === 'low-latency') {
    return {
      bytes: dataBytes,
      metaOffset: -1,
      expertsOffset: -1,
      weightsOffset: -1,
      scalesOffset: 0,
      scales: 0,
      dataOffset: 0,
      dataBytes,
    };
  }
  const dataOffset = META_BYTES + 4 * shape.topK;
  return {
    bytes: alignUp(dataOffset + dataBytes, MESSAGE_ALIGNMENT),
    metaOffset: 0,
    expertsOffset: -1,
    weightsOffset: META_BYTES,
    scalesOffset: dataOffset,
    scales: 0,
    dataOffset,
    dataBytes,
  };
}
