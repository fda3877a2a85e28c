/**
 * The parts of undici that the client is built from. Its index is never imported: evaluating it installs a
 * process-wide dispatcher, which breaks `fetch` in every other extension of the same host.
 */
declare module 'undici/lib/dispatcher/agent.js' {
  import Agent from 'undici/types/agent';
  export default Agent;
}

declare module 'undici/lib/api/api-request.js' {
  import type Dispatcher from 'undici/types/dispatcher';
  export default function request(
    this: Dispatcher,
    options: Dispatcher.RequestOptions,
  ): Promise<Dispatcher.ResponseData>;
}
