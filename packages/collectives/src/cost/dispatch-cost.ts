import { invalidConfig, needInteger } from '../moe/checks.js';
import type { CombineFormat, DispatchMode, PayloadFormat } from '../moe/config.js';
import { combineMessage, dispatchMessage } from '../moe/message.js';
import { expectedFanout, type Fanout } from './fanout.js';
import type { ClusterLinks } from './links.js';

/** One dispatch and combine of every rank of a group. */
export interface DispatchCostRequest {
  readonly topology: { readonly nodes: number; readonly ranksPerNode: number };
  readonly tokensPerRank: number;
  /** Physical experts over all ranks. */
  readonly experts: number;
  readonly topK: number;
  /** Most nodes of one token; default: no limit. */
  readonly nodeLimit?: number;
  readonly hidden: number;
  /** Default `bf16`. */
  readonly payload?: PayloadFormat;
  /** Default `f32` with payload `f32`, else `bf16`. */
  readonly combinePayload?: CombineFormat;
  readonly mode: DispatchMode;
  /** Measured distinct destinations per token; default: {@link expectedFanout} of a uniform gate. */
  readonly fanout?: Fanout;
  /** Load of the busiest rank over the mean load; scales bytes and time. Default 1. */
  readonly imbalance?: number;
}

/** Token messages of one rank over each link class: what a rank with mean load sends, and receives. */
export interface LinkTokens {
  readonly self: number;
  readonly intra: number;
  readonly inter: number;
}

/** One direction of an exchange, for the busiest rank. */
export interface PhaseCost {
  /** Bytes of one token message. */
  readonly messageBytes: number;
  readonly tokens: LinkTokens;
  readonly bytes: LinkTokens;
  readonly seconds: number;
  /** The link that decides the time. */
  readonly bottleneck: 'intra' | 'inter';
}

/** Price of a dispatch and its combine. */
export interface DispatchCost {
  readonly fanout: Fanout;
  readonly dispatch: PhaseCost;
  readonly combine: PhaseCost;
  readonly seconds: number;
}

/** Expected token messages of one rank by link class; the sum over ranks of what dispatchers count under a uniform gate. */
export function expectedTokens(request: DispatchCostRequest, fanout: Fanout = fanoutOf(request)): LinkTokens {
  const { nodes, ranksPerNode } = request.topology;
  const ranks = nodes * ranksPerNode;
  const tokens = request.tokensPerRank;
  const remote = (nodes - 1) / nodes;
  if (request.mode === 'hierarchical') {
    const inside = tokens * fanout.ranks;
    return {
      self: inside / ranksPerNode,
      intra: (inside * (ranksPerNode - 1)) / ranksPerNode,
      inter: tokens * fanout.nodes * remote,
    };
  }
  const messages = tokens * (request.mode === 'low-latency' ? request.topK : fanout.ranks);
  return {
    self: messages / ranks,
    intra: (messages * (ranksPerNode - 1)) / ranks,
    inter: messages * remote,
  };
}

/**
 * Prices dispatch and combine by alpha-beta per link class with shared network cards. Constant time in the number of ranks.
 *
 * Normal modes pipeline the links, so the slower one decides: max over classes of alpha + bytes * sharing / rate. Low latency issues all messages from
 * one kernel: the classes add up.
 *
 * @example
 * ```ts
 * import { dispatchCost, h800Normal } from '@moestack/collectives/cost';
 *
 * const { dispatch } = dispatchCost(
 *   {
 *     topology: { nodes: 8, ranksPerNode: 8 },
 *     tokensPerRank: 4096,
 *     experts: 256,
 *     topK: 8,
 *     nodeLimit: 4,
 *     hidden: 7168,
 *     payload: 'fp8',
 *     mode: 'hierarchical',
 *   },
 *   h800Normal,
 * );
 * console.log(dispatch.bottleneck, dispatch.seconds); // inter, 2.5 ms
 * ```
 */
export function dispatchCost(request: DispatchCostRequest, links: ClusterLinks): DispatchCost {
  needInteger('tokensPerRank', request.tokensPerRank, 0, 1 << 30);
  needInteger('hidden', request.hidden, 1, 1 << 24);
  const imbalance = request.imbalance ?? 1;
  if (!(imbalance >= 1) || !Number.isFinite(imbalance)) {
    throw invalidConfig('imbalance', imbalance, 'a number of at least 1');
  }
  checkLinks(links);
  const fanout = request.fanout ?? fanoutOf(request);
  const payload = request.payload ?? 'bf16';
  const shape = {
    mode: request.mode,
    hidden: request.hidden,
    topK: request.topK,
    payload,
    combinePayload: request.combinePayload ?? (payload === 'f32' ? ('f32' as const) : ('bf16' as const)),
  };
  const mean = expectedTokens(request, fanout);
  const tokens = {
    self: mean.self * imbalance,
    intra: mean.intra * imbalance,
    inter: mean.inter * imbalance,
  };
  const dispatch = phaseCost(request.mode, tokens, dispatchMessage(shape).bytes, links);
  const combine = phaseCost(request.mode, tokens, combineMessage(shape).bytes, links);
  return { fanout, dispatch, combine, seconds: dispatch.seconds + combine.seconds };
}

/** Time of one direction for given token messages; what {@link dispatchCost} applies to expected ones and callers may apply to counted ones. */
export function phaseCost(
  mode: DispatchMode,
  tokens: LinkTokens,
  messageBytes: number,
  links: ClusterLinks,
): PhaseCost {
  const bytes = {
    self: tokens.self * messageBytes,
    intra: tokens.intra * messageBytes,
    inter: tokens.inter * messageBytes,
  };
  const onIntra = bytes.intra + ((links.selfOnIntra ?? true) ? bytes.self : 0);
  const intraTransfer = (onIntra * (links.ranksPerIntraLink ?? 1)) / links.intra.bytesPerSecond;
  const interTransfer = (bytes.inter * (links.ranksPerNic ?? 1)) / links.inter.bytesPerSecond;
  const intra = onIntra > 0 ? links.intra.alphaSeconds + intraTransfer : 0;
  const inter = bytes.inter > 0 ? links.inter.alphaSeconds + interTransfer : 0;
  return {
    messageBytes,
    tokens,
    bytes,
    seconds: mode === 'low-latency' ? intra + inter : Math.max(intra, inter),
    bottleneck: inter > intra ? 'inter' : 'intra',
  };
}

function fanoutOf(request: DispatchCostRequest): Fanout {
  const { nodes, ranksPerNode } = request.topology;
  const shape = { nodes, ranksPerNode, experts: request.experts, topK: request.topK };
  return expectedFanout(
    request.nodeLimit === undefined ? shape : { ...shape, nodeLimit: Math.min(request.nodeLimit, nodes) },
  );
}

/** Checks that rates and sharing make sense. */
export function checkLinks(links: ClusterLinks): void {
  for (const name of ['intra', 'inter'] as const) {
    const { alphaSeconds, bytesPerSecond } = links[name];
    if (!(alphaSeconds >= 0 && Number.isFinite(alphaSeconds))) {
      throw invalidConfig(`links.${name}.alphaSeconds`, alphaSeconds, 'a finite number of at least 0');
    }
    if (!(bytesPerSecond > 0)) {
      throw invalidConfig(`links.${name}.bytesPerSecond`, bytesPerSecond, 'a positive number');
    }
  }
  needInteger('links.ranksPerNic', links.ranksPerNic ?? 1, 1, 1 << 16);
  needInteger('links.ranksPerIntraLink', links.ranksPerIntraLink ?? 1, 1, 1 << 16);
}
