import * as z from 'zod/mini';
import { RANGES } from '../../src/core/audit/calls';
import { callFilter } from '../../src/shared/dashboard';
import { type Request, Requester, type Wire } from '../../src/shared/ipc';
import { GROUPS } from './trends';

interface VsCodeApi {
  postMessage(message: Wire): void;
  getState(): unknown;
  setState(state: unknown): void;
}

declare function acquireVsCodeApi(): VsCodeApi;

const api = acquireVsCodeApi();

export const VIEWS = ['now', 'calls', 'trends', 'setup'] as const;
export type View = (typeof VIEWS)[number];

/** Of the last hours, by their number. */
export const PERIODS = [1, 24, 7 * 24, 30 * 24] as const;

/** Where the person was. Everything else comes from the extension. */
const placeSchema = z.object({
  view: z.catch(z.enum(VIEWS), 'now'),
  filter: z.catch(callFilter, {}),
  /** Hours; `since` of the filter follows from it. */
  period: z.catch(z.optional(z.union(PERIODS.map((hours) => z.literal(hours)))), undefined),
  /** The call whose details are open, by its id. */
  open: z.catch(z.optional(z.string()), undefined),
  range: z.catch(z.enum(RANGES), '24h'),
  /** Whose figures the trends show; absent: the latest call's. */
  profile: z.catch(z.optional(z.string()), undefined),
  /** By what the trends are split. */
  group: z.catch(z.enum(GROUPS), 'backend'),
});
export type Place = z.infer<typeof placeSchema>;

export function post(message: Wire): void {
  api.postMessage(message);
}

const requester = new Requester(post);

/** Rejects with a sentence for the person. */
export function ask<P, R>(kind: Request<P, R>, params: P): Promise<R> {
  return requester.ask(kind, params);
}

/** Whether the message was the reply to a question. */
export function receiveReply(message: unknown): boolean {
  return requester.receive(message);
}

export function restorePlace(): Place {
  return placeSchema.parse(api.getState() ?? {});
}

export function keepPlace(place: Place): void {
  api.setState(place);
}
