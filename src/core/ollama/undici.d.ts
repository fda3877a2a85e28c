/**
 * The parts of undici that the client is built from. Its index is never imported: evaluating it installs a
 * process-wide dispatcher, which breaks `fetch` in every other extension of the same host.
 */
declare module 'undici/lib/dispatcher/agent.js' {
  import Agent from 'undici/types/agent';
  export default Agent;
}

declare module 'undici/lib/dispatcher/proxy-agent.js' {
  import ProxyAgent from 'undici/types/proxy-agent';
  export default ProxyAgent;
}

declare module 'undici/lib/dispatcher/pool.js' {
  import Pool from 'undici/types/pool';
  export default Pool;
}

declare module 'undici/lib/core/connect.js' {
  import buildConnector from 'undici/types/connector';
  export default buildConnector;
}

declare module 'undici/lib/api/api-connect.js' {
  import type Dispatcher from 'undici/types/dispatcher';
  const connect: Dispatcher['connect'];
  export default connect;
}

declare module 'undici/lib/api/api-request.js' {
  import type Dispatcher from 'undici/types/dispatcher';
  export default function request(
    this: Pick<Dispatcher, 'dispatch'>,
    options: Dispatcher.RequestOptions,
  ): Promise<Dispatcher.ResponseData>;
}
