import * as z from 'zod/mini';
import type { Wire } from '../../src/shared/ipc';

interface VsCodeApi {
  postMessage(message: Wire): void;
  getState(): unknown;
  setState(state: unknown): void;
}

declare function acquireVsCodeApi(): VsCodeApi;

const api = acquireVsCodeApi();

/** Where the person was. Everything else comes with the snapshot. */
const placeSchema = z.object({
  filter: z.catch(z.string(), ''),
  /** The call whose details are open. */
  open: z.catch(z.optional(z.string()), undefined),
});
export type Place = z.infer<typeof placeSchema>;

export function post(message: Wire): void {
  api.postMessage(message);
}

export function restorePlace(): Place {
  return placeSchema.parse(api.getState() ?? {});
}

export function keepPlace(place: Place): void {
  api.setState(place);
}
