import type { TrafficReport as RankTraffic, Traffic } from '../communicator/counters.js';
import type { LinkClass } from '../communicator/topology.js';
import type { CombineFormat, DispatcherConfig, DispatchMode, PayloadFormat } from './config.js';
import { combineMessage, dispatchMessage } from './message.js';
import type { DispatchCounters } from './slot-counters.js';

/** Token messages, bytes and transfers over one link class. */
export interface TokenTraffic {
  tokens: number;
  bytes: number;
  transfers: number;
}

/** {@link TokenTraffic} by link class. */
export type TokenTrafficByLink = Record<LinkClass, TokenTraffic>;

/** What all ranks counted in one phase. */
export interface PhaseTrafficSummary {
  messageBytes: number;
  ranks: { sent: TokenTrafficByLink; received: TokenTrafficByLink }[];
  /** Sum of what all ranks sent. */
  total: TokenTrafficByLink;
}

/** Plain data in the form of the schema `TrafficReport` of `@moestack/schemas`. */
export interface TrafficSummary {
  schemaVersion: 1;
  kind: 'moestack.traffic-report';
  mode: DispatchMode;
  topology: { nodes: number; ranksPerNode: number };
  experts: number;
  topK: number;
  hidden: number;
  payload: PayloadFormat;
  combinePayload: CombineFormat;
  dispatch: PhaseTrafficSummary;
  combine: PhaseTrafficSummary;
  controlBytes: number;
}

const LINKS: readonly LinkClass[] = ['self', 'intra', 'inter'];

/** What one rank sends to the rank that makes the report; plain data that survives a structured clone. */
export interface RankCounters {
  readonly dispatch: RankTraffic;
  readonly combine: RankTraffic;
  readonly control: RankTraffic;
}

/** Snapshot of a dispatcher's counters. */
export function snapshotCounters(counters: DispatchCounters): RankCounters {
  return {
    dispatch: counters.dispatch.report(),
    combine: counters.combine.report(),
    control: counters.control.report(),
  };
}

/**
 * Joins the counters of all ranks into a report in the form of the schema `TrafficReport`.
 *
 * @param ranks - snapshots by rank.
 */
export function trafficReport(config: DispatcherConfig, ranks: readonly RankCounters[]): TrafficSummary {
  const { mode, nodes, ranksPerNode, experts, topK, hidden, payload, combinePayload } = config;
  let controlBytes = 0;
  for (const { control } of ranks) for (const link of LINKS) controlBytes += control.sent[link].bytes;
  return {
    schemaVersion: 1,
    kind: 'moestack.traffic-report',
    mode,
    topology: { nodes, ranksPerNode },
    experts,
    topK,
    hidden,
    payload,
    combinePayload,
    dispatch: summarize(
      ranks.map((rank) => rank.dispatch),
      dispatchMessage(config).bytes,
    ),
    combine: summarize(
      ranks.map((rank) => rank.combine),
      combineMessage(config).bytes,
    ),
    controlBytes,
  };
}

function summarize(reports: readonly RankTraffic[], messageBytes: number): PhaseTrafficSummary {
  const ranks = reports.map((report) => ({
    sent: byLink(report.sent, messageBytes),
    received: byLink(report.received, messageBytes),
  }));
  const total = byLink({ self: none, intra: none, inter: none }, messageBytes);
  for (const { sent } of ranks) {
    for (const link of LINKS) {
      total[link].tokens += sent[link].tokens;
      total[link].bytes += sent[link].bytes;
      total[link].transfers += sent[link].transfers;
    }
  }
  return { messageBytes, ranks, total };
}

const none: Traffic = { messages: 0, bytes: 0 };

function byLink(traffic: Readonly<Record<LinkClass, Traffic>>, messageBytes: number): TokenTrafficByLink {
  const tokens = ({ messages, bytes }: Traffic): TokenTraffic => ({
    tokens: bytes / messageBytes,
    bytes,
    transfers: messages,
  });
  return { self: tokens(traffic.self), intra: tokens(traffic.intra), inter: tokens(traffic.inter) };
}
