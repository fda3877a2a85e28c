import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import * as http from 'node:http';
import * as https from 'node:https';
import { type AddressInfo, connect, type LookupFunction, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import {
  createIntern,
  type Intern,
  type InternError,
  type InternOptions,
  type NetworkSettings,
  resolveConfig,
} from '../../src/core';
import { resolveNetwork } from '../../src/core/config';
import { proxyFor } from '../../src/core/ollama/proxy';
import { mayCarryToken, Tokens } from '../../src/core/ollama/tokens';
import { type OllamaOptions, type OllamaServer, startOllama } from '../support/ollama/server';
import { assertHint, assertSentence, failure } from './support';

const CERTIFICATES = join(__dirname, '..', 'fixtures', 'tls');
const CA_FILE = join(CERTIFICATES, 'ca.pem');
const TLS = {
  key: readFileSync(join(CERTIFICATES, 'server-key.pem')),
  cert: readFileSync(join(CERTIFICATES, 'server.pem')),
};
const TOKEN = 'tok-5ecret-0123456789';
const PASSWORD = 'pr0xy-passw0rd';
const BASIC = `Basic ${Buffer.from(`joe:${PASSWORD}`).toString('base64')}`;
const INPUT = {
  text: 'The limiter admits two calls at once. Others wait in line. Waiting can be cancelled.\n'.repeat(
    4,
  ),
};

/** Every made-up name is this machine. */
const lookup: LookupFunction = (_, options, callback) => {
  if (options.all) callback(null, [{ address: '127.0.0.1', family: 4 }]);
  else callback(null, '127.0.0.1', 4);
};

interface Seen {
  method: string;
  url: string;
  headers: http.IncomingHttpHeaders;
}

/** A server that was started for a test, and what it was asked. */
interface Site {
  port: number;
  seen: Seen[];
  server: http.Server;
}

describe('the network', () => {
  const cleanups: (() => Promise<unknown>)[] = [];
  let folder: string;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'intern-network-'));
  });

  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
    await rm(folder, { recursive: true, force: true });
  });

  async function ollama(options: OllamaOptions = {}): Promise<OllamaServer> {
    const server = await startOllama(options);
    cleanups.push(() => server.close());
    return server;
  }

  async function open(server: http.Server, address = '127.0.0.1'): Promise<Site> {
    const sockets = new Set<Socket>();
    const seen: Seen[] = [];
    const note = ({ method = '', url = '', headers }: http.IncomingMessage): void =>
      void seen.push({ method, url, headers });
    server.on('request', note).on('connect', note);
    for (const event of ['connection', 'secureConnection']) {
      server.on(event, (socket: Socket) => {
        sockets.add(socket.on('error', () => {}));
      });
    }
    await new Promise<void>((resolve) => server.listen(0, address, resolve));
    cleanups.push(async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    });
    return { port: (server.address() as AddressInfo).port, seen, server };
  }

  /** TLS before the simulator. Wants a token when one is given, and quotes the wrong one as careless servers do. */
  function reverseProxy(
    backend: OllamaServer,
    { token, under = '', address }: { token?: string; under?: string; address?: string } = {},
  ): Promise<Site> {
    const server = https.createServer(TLS, (request, response) => {
      const { authorization } = request.headers;
      if (token !== undefined && authorization !== `Bearer ${token}`) {
        response.writeHead(401, { 'content-type': 'application/json' });
        response.end(JSON.stringify({ error: `not allowed: ${authorization}` }));
      } else if (!request.url?.startsWith(under)) {
        response.writeHead(404).end();
      } else {
        pass(request, response, `${backend.url}${request.url.slice(under.length)}`);
      }
    });
    return open(server, address);
  }

  /** A forward proxy that takes every name for this machine. */
  function forwardProxy({
    authorization,
    secure,
  }: { authorization?: string; secure?: boolean } = {}) {
    const allows = ({ headers }: http.IncomingMessage): boolean =>
      authorization === undefined || headers['proxy-authorization'] === authorization;
    const onRequest: http.RequestListener = (request, response) => {
      if (!allows(request)) return void response.writeHead(407).end('who are you?');
      const url = new URL(request.url ?? '');
      url.hostname = '127.0.0.1';
      pass(request, response, url.href);
    };
    const server = secure ? https.createServer(TLS, onRequest) : http.createServer(onRequest);
    server.on('connect', (request: http.IncomingMessage, socket: Socket, head: Buffer) => {
      if (!allows(request)) return void socket.end('HTTP/1.1 407 No\r\n\r\n');
      const target = connect(Number(request.url?.split(':').at(-1)), '127.0.0.1', () => {
        socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
        target.write(head);
        target.pipe(socket).pipe(target);
      });
      target.on('error', () => socket.end('HTTP/1.1 502 No\r\n\r\n'));
      target.on('close', () => socket.destroy());
      socket.on('error', () => {}).on('close', () => target.destroy());
    });
    return open(server);
  }

  function hire(
    host: string,
    network: NetworkSettings = {},
    options: InternOptions = {},
  ): Intern & { set(network: NetworkSettings): void } {
    const settings = { host, logPath: join(folder, 'log.ndjson') };
    const intern = createIntern({
      settings: { ...settings, network },
      env: {},
      lookup,
      ...options,
    });
    cleanups.push(() => intern.dispose());
    return Object.assign(intern, {
      set: (changed: NetworkSettings) => intern.configure({ ...settings, network: changed }),
    });
  }

  const summarize = (intern: Intern, options = {}) => intern.run('summarize_fast', INPUT, options);

  async function logged(intern: Intern): Promise<string> {
    await intern.flush();
    return readFile(intern.config.logPath, 'utf8');
  }

  /** Nothing that a surface could show or write down has the secret. */
  async function assertHidden(intern: Intern, secret: string, error?: InternError): Promise<void> {
    const shown = inspect([error, error?.serverMessage, intern.config, intern], { depth: 12 });
    assert.ok(!shown.includes(secret), 'an object shows the secret');
    assert.ok(!(await logged(intern)).includes(secret), 'the log has the secret');
  }

  describe('a certificate', () => {
    it('that nobody trusts is called that, and the setting is named', async () => {
      const site = await reverseProxy(await ollama());
      const error = await failure(summarize(hire(`https://gpu.test:${site.port}`)));
      assert.equal(error.code, 'unreachable');
      assert.match(error.message, /certificate is not trusted/);
      assert.match(error.hint, /ollamaIntern\.network\.caFile/);
      assert.deepEqual(error.actions[0], {
        kind: 'open_setting',
        setting: 'ollamaIntern.network.caFile',
      });
      assertSentence(error.message, 'The message');
      assertHint(error.hint);
      assert.equal(site.seen.length, 0);
    });

    it('is trusted right after the file of its authority is set', async () => {
      const site = await reverseProxy(await ollama());
      const intern = hire(`https://gpu.test:${site.port}`);
      await failure(summarize(intern));
      intern.set({ caFile: CA_FILE });
      assert.ok((await summarize(intern)).result.summary);
      intern.set({});
      assert.match((await failure(summarize(intern))).message, /not trusted/);
    });

    it('of an authority in NODE_EXTRA_CA_CERTS is trusted', async () => {
      const site = await reverseProxy(await ollama());
      const env = { NODE_EXTRA_CA_CERTS: CA_FILE };
      await summarize(hire(`https://gpu.test:${site.port}`, {}, { env }));
    });

    it('for another name is not trusted, whatever the authority', async () => {
      const site = await reverseProxy(await ollama());
      const intern = hire(`https://other.test:${site.port}`, { caFile: CA_FILE });
      assert.match((await failure(summarize(intern))).message, /for another name/);
      assert.equal(site.seen.length, 0);
    });

    const unusable: [what: string, content: string | undefined, says: RegExp][] = [
      ['missing', undefined, /cannot be read \(ENOENT\)/],
      ['empty', '', /no certificate in PEM form/],
      ['not PEM', 'hello', /no certificate in PEM form/],
      [
        'damaged',
        '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n',
        /no certificate in PEM form/,
      ],
    ];
    for (const [what, content, says] of unusable) {
      it(`file that is ${what} is reported once it is read, and crashes nothing`, async () => {
        const site = await reverseProxy(await ollama());
        const caFile = join(folder, 'ca.pem');
        if (content !== undefined) await writeFile(caFile, content);
        const intern = hire(`https://gpu.test:${site.port}`, { caFile });
        const told: string[] = [];
        intern.listen({ onConfig: ({ problems }) => told.push(...problems.map((p) => p.message)) });
        assert.equal(intern.config.problems.length, 0);
        await failure(summarize(intern));
        await failure(summarize(intern));
        assert.equal(intern.config.problems.length, 1);
        assert.match(intern.config.problems[0]?.message ?? '', says);
        assert.equal(intern.config.problems[0]?.setting, 'ollamaIntern.network.caFile');
        assertSentence(told[0] ?? '', 'The problem');
        // It stays known while the setting stays.
        intern.set({ caFile });
        assert.equal(intern.config.problems.length, 1);
        intern.set({});
        assert.deepEqual(intern.config.problems, []);
      });
    }

    it('file is not read for plain HTTP', async () => {
      const intern = hire((await ollama()).url, { caFile: join(folder, 'missing.pem') });
      await summarize(intern);
      assert.deepEqual(intern.config.problems, []);
    });
  });

  describe('a token', () => {
    it('is sent to a reverse proxy that wants it, under a path too', async () => {
      const backend = await ollama();
      const site = await reverseProxy(backend, { token: TOKEN, under: '/ollama' });
      const intern = hire(`https://gpu.test:${site.port}/ollama`, { caFile: CA_FILE });
      const error = await failure(summarize(intern));
      assert.equal(error.code, 'auth_failed');
      assert.deepEqual(error.actions, [{ kind: 'set_token' }]);
      intern.setToken(intern.config.host, TOKEN);
      assert.ok((await summarize(intern)).result.summary);
      intern.setToken(intern.config.host, undefined);
      assert.equal((await failure(summarize(intern))).code, 'auth_failed');
      await assertHidden(intern, TOKEN);
    });

    it('is asked for once, at the first request', async () => {
      const site = await reverseProxy(await ollama(), { token: TOKEN });
      const asked: string[] = [];
      const tokens = (origin: string) => {
        asked.push(origin);
        return Promise.resolve(TOKEN);
      };
      const intern = hire(`https://gpu.test:${site.port}`, { caFile: CA_FILE }, { tokens });
      assert.deepEqual(asked, []);
      await summarize(intern);
      await summarize(intern);
      assert.deepEqual(asked, [`https://gpu.test:${site.port}`]);
    });

    it('whose store fails once is asked for again', async () => {
      let answers = 0;
      const tokens = new Tokens(() =>
        answers++ === 0 ? Promise.reject(new Error('locked')) : Promise.resolve(TOKEN),
      );
      assert.equal(await tokens.of('https://gpu.test'), undefined);
      assert.equal(await tokens.of('https://gpu.test'), TOKEN);
    });

    it('that is wrong shows nowhere, even when the server quotes it', async () => {
      const site = await reverseProxy(await ollama(), { token: 'another' });
      const intern = hire(`https://gpu.test:${site.port}`, { caFile: CA_FILE });
      intern.setToken(intern.config.host, TOKEN);
      const error = await failure(summarize(intern));
      assert.equal(site.seen.at(-1)?.headers.authorization, `Bearer ${TOKEN}`);
      assert.match(error.serverMessage ?? '', /not allowed: Bearer \*\*\*/);
      await assertHidden(intern, TOKEN, error);
    });

    it('never goes to another origin: other port, other name, other scheme', async () => {
      const own = await reverseProxy(await ollama());
      const other = await reverseProxy(await ollama());
      const local = await ollama();
      const intern = hire(`https://gpu.test:${own.port}`, { caFile: CA_FILE });
      const { logPath } = intern.config;
      intern.setToken(intern.config.host, TOKEN);
      await summarize(intern);
      const known = own.seen.length;
      for (const host of [
        `https://gpu.test:${other.port}`,
        `https://proxy.test:${own.port}`,
        local.url,
      ]) {
        intern.configure({ host, logPath, network: { caFile: CA_FILE } });
        await summarize(intern);
      }
      const strangers = [...own.seen.slice(known), ...other.seen, ...local.requests];
      assert.ok(strangers.length >= 6);
      for (const { headers } of strangers) assert.ok(!JSON.stringify(headers).includes(TOKEN));
    });

    for (const status of [301, 302, 307, 308]) {
      it(`does not follow a redirect (${status})`, async () => {
        const thief = await reverseProxy(await ollama());
        const server = https.createServer(TLS, (_, response) => {
          response.writeHead(status, { location: `https://gpu.test:${thief.port}/api/tags` }).end();
        });
        const site = await open(server);
        const intern = hire(`https://gpu.test:${site.port}`, { caFile: CA_FILE });
        intern.setToken(intern.config.host, TOKEN);
        assert.match((await failure(summarize(intern))).message, /redirect/);
        assert.ok(site.seen.length > 0);
        assert.equal(thief.seen.length, 0);
      });
    }

    it('is not sent in clear over a network: nothing is sent, and the error says why', async () => {
      const backend = await ollama();
      const intern = hire(`http://gpu.internal:${backend.port}`);
      intern.setToken(intern.config.host, TOKEN);
      const error = await failure(summarize(intern));
      assert.equal(error.code, 'config');
      assert.match(error.message, /not sent over plain HTTP/);
      assertSentence(error.message, 'The message');
      assertHint(error.hint);
      assert.equal(backend.requests.length, 0);
      await assertHidden(intern, TOKEN, error);
    });

    it('may go to this machine in clear', async () => {
      const backend = await ollama();
      const intern = hire(backend.url);
      intern.setToken(backend.url, TOKEN);
      await summarize(intern);
      for (const { headers } of backend.requests) {
        assert.equal(headers.authorization, `Bearer ${TOKEN}`);
      }
    });

    it('may go over https or to this machine only', () => {
      for (const good of ['https://a.example', 'http://127.0.0.1:1', 'http://[::1]:1']) {
        assert.ok(mayCarryToken(good), good);
      }
      for (const bad of ['http://a.example', 'http://10.0.0.1:1', 'http://127.0.0.1.example']) {
        assert.ok(!mayCarryToken(bad), bad);
      }
    });

    for (const bad of ['', 'a b', 'a\r\nx: y', 'ü', 'Bearer x']) {
      it(`cannot be ${JSON.stringify(bad)}`, () => {
        const intern = hire('https://gpu.test');
        assert.throws(() => intern.setToken('https://gpu.test', bad), /not a token/);
      });
    }
  });

  describe('headers of the settings', () => {
    const sent = (extra: Record<string, string>, token?: string) => {
      const tokens = new Tokens();
      tokens.set('https://gpu.test', token);
      return tokens.headers('https://gpu.test/x', extra).then(({ headers }) => headers);
    };

    it('are sent with every request, with the token where it belongs', async () => {
      const backend = await ollama();
      const intern = hire(backend.url, { headers: { 'X-Team': 'docs', 'X-Key': 'k ${token}' } });
      intern.setToken(backend.url, TOKEN);
      await summarize(intern);
      assert.ok(backend.requests.length > 1);
      for (const { headers } of backend.requests) {
        assert.equal(headers['x-team'], 'docs');
        assert.equal(headers['x-key'], `k ${TOKEN}`);
        assert.equal(headers.authorization, undefined);
      }
    });

    it('take the place of the bearer header only when they say so', async () => {
      const bearer = { authorization: `Bearer ${TOKEN}` };
      assert.deepEqual(await sent({}, TOKEN), bearer);
      assert.deepEqual(await sent({ 'X-A': 'b' }, TOKEN), { ...bearer, 'X-A': 'b' });
      assert.deepEqual(await sent({ Authorization: 'Basic ${token}' }, TOKEN), {
        Authorization: `Basic ${TOKEN}`,
      });
      assert.deepEqual(await sent({ AUTHORIZATION: 'Basic x' }, TOKEN), {
        AUTHORIZATION: 'Basic x',
      });
      assert.deepEqual(await sent({ 'X-Key': '${token}', 'X-A': 'b' }), { 'X-A': 'b' });
    });

    it('are inserted as they are, whatever the token looks like', async () => {
      assert.deepEqual(await sent({ 'X-Key': '${token}' }, '$&$1'), { 'X-Key': '$&$1' });
    });

    const refused: [name: string, value: unknown, says: RegExp][] = [
      ['host', 'x', /connection itself/],
      ['Content-Length', '1', /connection itself/],
      ['transfer-encoding', 'chunked', /connection itself/],
      ['Connection', 'close', /connection itself/],
      ['Proxy-Authorization', 'Basic x', /connection itself/],
      ['X Y', 'x', /not a name/],
      ['', 'x', /not a name/],
      ['X-A\r\nX-B', 'x', /not a name/],
      ['X-A', 's3cret\r\nX-B: y', /cannot be sent/],
      ['X-A', 's3cret\0', /cannot be sent/],
      ['X-A', '日本', /cannot be sent/],
      ['X-A', 7, /not text/],
    ];
    for (const [name, value, says] of refused) {
      it(`${JSON.stringify(name)}: ${JSON.stringify(value)} is refused and reported`, () => {
        const headers = { [name]: value, 'X-Good': 'yes' } as Record<string, string>;
        const { network, problems } = resolveNetwork({ headers }, {});
        assert.deepEqual(network.headers, { 'X-Good': 'yes' });
        assert.equal(problems.length, 1);
        assert.equal(problems[0]?.setting, 'ollamaIntern.network.headers');
        assert.match(problems[0]?.message ?? '', says);
        assert.doesNotMatch(problems[0]?.message ?? '', /s3cret/);
        assert.deepEqual(resolveConfig({ network: { headers } }, {}).problems, problems);
      });
    }

    it('of a wrong kind are reported', () => {
      for (const headers of ['x', 3, ['a']] as unknown as Record<string, string>[]) {
        const { network, problems } = resolveNetwork({ headers }, {});
        assert.deepEqual(network.headers, {});
        assert.equal(problems.length, 1);
      }
    });
  });

  describe('the proxy of a server', () => {
    const A = 'http://a.example:3128';
    const B = 'http://b.example:8080';
    type Row = [
      host: string,
      settings: NetworkSettings,
      env: Record<string, string>,
      proxy: string | undefined,
    ];
    const rows: Row[] = [
      ['https://gpu.example', {}, {}, undefined],
      ['https://gpu.example', { proxy: A }, {}, A],
      ['http://gpu.example', { proxy: A }, {}, A],
      ['https://gpu.example', { proxy: 'a.example:3128' }, {}, A],
      ['https://gpu.example', { proxy: A }, { HTTPS_PROXY: B }, A],
      ['https://gpu.example', {}, { HTTPS_PROXY: B }, B],
      ['https://gpu.example', {}, { https_proxy: B }, B],
      ['https://gpu.example', {}, { https_proxy: A, HTTPS_PROXY: B }, A],
      ['https://gpu.example', {}, { HTTP_PROXY: B }, undefined],
      ['http://gpu.example', {}, { HTTP_PROXY: B }, B],
      ['http://gpu.example', {}, { http_proxy: B }, B],
      ['http://gpu.example', {}, { HTTPS_PROXY: B }, undefined],
      ['http://gpu.example', {}, { ALL_PROXY: B }, B],
      ['https://gpu.example', {}, { all_proxy: B }, B],
      ['https://gpu.example', {}, { ALL_PROXY: A, HTTPS_PROXY: B }, B],
      ['https://gpu.example', {}, { HTTPS_PROXY: 'ftp://b.example' }, undefined],
      ['https://gpu.example', { proxy: 'socks5://a.example' }, {}, undefined],
      // This machine never.
      ['http://127.0.0.1:11434', { proxy: A }, { HTTP_PROXY: B, ALL_PROXY: B }, undefined],
      ['http://127.9.9.9:11434', { proxy: A }, {}, undefined],
      ['http://localhost:11434', { proxy: A }, {}, undefined],
      ['https://localhost', { proxy: A }, {}, undefined],
      ['http://[::1]:11434', { proxy: A }, {}, undefined],
    ];
    const bypass: [rule: string, host: string, isDirect: boolean][] = [
      ['gpu.example', 'https://gpu.example', true],
      ['GPU.Example', 'https://gpu.example', true],
      ['gpu.example', 'https://gpu.example.', true],
      ['gpu.example', 'https://other.example', false],
      ['gpu.example', 'https://notgpu.example', false],
      ['gpu.example', 'https://gpu.example.org', false],
      ['gpu.example', 'https://a.gpu.example', true],
      ['.example', 'https://gpu.example', true],
      ['.gpu.example', 'https://gpu.example', false],
      ['*.example', 'https://gpu.example', true],
      ['*.example', 'https://a.gpu.example', true],
      ['*.gpu.example', 'https://gpu.example', false],
      ['*.ample', 'https://gpu.example', false],
      ['gpu.example:8443', 'https://gpu.example:8443', true],
      ['gpu.example:8443', 'https://gpu.example', false],
      ['gpu.example:443', 'https://gpu.example', true],
      ['gpu.example:80', 'http://gpu.example', true],
      ['.example:8443', 'https://gpu.example:8443', true],
      ['*', 'https://gpu.example', true],
      ['10.0.0.7', 'http://10.0.0.7:11434', true],
      ['10.0.0.7', 'http://10.0.0.71:11434', false],
      ['fd00::1', 'http://[fd00::1]:11434', true],
      ['[fd00::1]', 'http://[fd00::1]:11434', true],
      ['[fd00::1]:11434', 'http://[fd00::1]:11434', true],
      ['[fd00::1]:1', 'http://[fd00::1]:11434', false],
      ['', 'https://gpu.example', false],
      ['a.example, gpu.example', 'https://gpu.example', true],
      ['a.example gpu.example', 'https://gpu.example', true],
    ];
    for (const [rule, host, isDirect] of bypass) {
      const expected = isDirect ? undefined : A;
      rows.push([host, { proxy: A, noProxy: [rule] }, {}, expected]);
      rows.push([host, { proxy: A }, { NO_PROXY: rule }, expected]);
      rows.push([host, {}, { ALL_PROXY: A, no_proxy: rule }, expected]);
    }
    for (const proxySupport of ['off', 'on', 'fallback', 'override', undefined]) {
      const expected = proxySupport === 'off' ? undefined : A;
      rows.push(['https://gpu.example', { proxySupport, proxy: A }, {}, expected]);
      rows.push(['http://gpu.example', { proxySupport }, { HTTP_PROXY: A }, expected]);
    }
    for (const [host, settings, env, expected] of rows) {
      it(`${host} ${JSON.stringify(settings)} ${JSON.stringify(env)}: ${expected ?? 'none'}`, () => {
        const { network } = resolveNetwork(settings, env);
        assert.equal(proxyFor(host, network)?.origin, expected);
      });
    }

    it('gets its credentials from the address, unless the setting has others', () => {
      const proxy = `http://joe:${PASSWORD}@a.example`;
      const of = (settings: NetworkSettings) => resolveNetwork(settings, {}).network.https;
      assert.equal(of({ proxy })?.authorization, BASIC);
      assert.equal(of({ proxy })?.origin, 'http://a.example');
      assert.equal(of({ proxy, proxyAuthorization: 'Digest x' })?.authorization, 'Digest x');
      const base64 = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`;
      assert.equal(of({ proxy: 'http://j%40e:a%3Ab@a.example' })?.authorization, base64('j@e:a:b'));
      assert.equal(of({ proxy: 'http://joe:50%@a.example' })?.authorization, base64('joe:50%'));
      assert.equal(of({ proxy: 'http://joe@a.example' })?.authorization, base64('joe:'));
    });

    it('that cannot be used is reported without its password', () => {
      const address = `socks5://joe:${PASSWORD}@a.example`;
      for (const { problems } of [
        resolveNetwork({ proxy: address }, {}),
        resolveNetwork({}, { HTTPS_PROXY: address }),
        resolveNetwork({ proxy: `http://joe:${PASSWORD}@` }, {}),
        resolveNetwork({ proxyAuthorization: `Basic ${PASSWORD}\r\nx: y` }, {}),
      ]) {
        assert.equal(problems.length, 1);
        assertSentence(problems[0]?.message ?? '', 'The problem');
        assert.ok(!JSON.stringify(problems).includes(PASSWORD));
      }
    });
  });

  for (const secure of [false, true]) {
    describe(`through a forward proxy${secure ? ' that speaks TLS' : ''}`, () => {
      const scheme = secure ? 'https' : 'http';

      it('https goes in a tunnel: the proxy sees neither token nor prompt', async () => {
        const proxy = await forwardProxy({ authorization: BASIC, secure });
        const site = await reverseProxy(await ollama(), { token: TOKEN });
        const intern = hire(`https://gpu.test:${site.port}`, {
          caFile: CA_FILE,
          proxy: `${scheme}://joe:${PASSWORD}@proxy.test:${proxy.port}`,
        });
        intern.setToken(intern.config.host, TOKEN);
        assert.ok((await summarize(intern)).result.summary);
        assert.ok(proxy.seen.length > 0);
        for (const { method, url, headers } of proxy.seen) {
          assert.equal(method, 'CONNECT');
          assert.equal(url, `gpu.test:${site.port}`);
          assert.equal(headers['proxy-authorization'], BASIC);
          assert.equal(headers.authorization, undefined);
        }
        for (const { headers } of site.seen) {
          assert.equal(headers['proxy-authorization'], undefined);
          assert.equal(headers.authorization, `Bearer ${TOKEN}`);
          assert.equal(headers.host, `gpu.test:${site.port}`);
        }
        await assertHidden(intern, TOKEN);
        assert.ok(!(await logged(intern)).includes(PASSWORD));
      });

      it('plain HTTP is forwarded, and the server never sees the credentials', async () => {
        const proxy = await forwardProxy({ authorization: BASIC, secure });
        const backend = await ollama();
        const intern = hire(`http://gpu.internal:${backend.port}`, {
          caFile: CA_FILE,
          proxy: `${scheme}://proxy.test:${proxy.port}`,
          proxyAuthorization: BASIC,
        });
        assert.ok((await summarize(intern)).result.summary);
        assert.ok(proxy.seen.length > 1);
        for (const { url, headers } of proxy.seen) {
          assert.ok(url.startsWith(`http://gpu.internal:${backend.port}/api/`), url);
          assert.equal(headers.host, `gpu.internal:${backend.port}`);
          assert.equal(headers['proxy-authorization'], BASIC);
        }
      });

      for (const target of ['https', 'http']) {
        it(`${target} without the right credentials says that the proxy wants them`, async () => {
          const proxy = await forwardProxy({ authorization: BASIC, secure });
          const backend = await ollama();
          const site = await reverseProxy(backend);
          const host =
            target === 'https'
              ? `https://gpu.test:${site.port}`
              : `http://gpu.internal:${backend.port}`;
          const intern = hire(host, {
            caFile: CA_FILE,
            proxy: `${scheme}://joe:not-${PASSWORD}@proxy.test:${proxy.port}`,
          });
          const error = await failure(summarize(intern));
          assert.equal(error.code, 'auth_failed');
          assert.match(error.message, /^The proxy .*proxy\.test:\d+ wants credentials/);
          assertSentence(error.message, 'The message');
          assertHint(error.hint);
          assert.ok(!inspect(error, { depth: 9 }).includes(PASSWORD));
          assert.ok(!(await logged(intern)).includes(PASSWORD));
        });

        it(`${target} can be cancelled in the middle of the answer`, async () => {
          const proxy = await forwardProxy({ secure });
          const backend = await ollama({ tokenMs: 40 });
          const site = await reverseProxy(backend);
          const host =
            target === 'https'
              ? `https://gpu.test:${site.port}`
              : `http://gpu.internal:${backend.port}`;
          const intern = hire(host, {
            caFile: CA_FILE,
            proxy: `${scheme}://proxy.test:${proxy.port}`,
          });
          const stop = new AbortController();
          let text = '';
          const error = await failure(
            summarize(intern, {
              signal: stop.signal,
              onDelta: (delta: string) => {
                text += delta;
                stop.abort();
              },
            }),
          );
          assert.equal(error.code, 'cancelled');
          assert.ok(text.length > 0);
          await backend.waitFor(() => backend.stats.cancelled === 1, 'the call to be cancelled');
          await backend.whenIdle();
        });
      }
    });
  }

  describe('a forward proxy', () => {
    it('that cannot be reached is named, without its password', async () => {
      const proxy = await forwardProxy();
      await new Promise((resolve) => proxy.server.close(resolve));
      const intern = hire('https://gpu.test', {
        proxy: `http://joe:${PASSWORD}@127.0.0.1:${proxy.port}`,
      });
      const error = await failure(summarize(intern));
      assert.equal(error.code, 'unreachable');
      assert.match(error.message, /through the proxy 127\.0\.0\.1:\d+: nothing is listening there/);
      assert.ok(!inspect(error, { depth: 9 }).includes(PASSWORD));
    });

    it('that cannot reach the server says its status', async () => {
      const proxy = await forwardProxy();
      const gone = await reverseProxy(await ollama());
      await new Promise((resolve) => gone.server.close(resolve));
      const intern = hire(`https://gpu.test:${gone.port}`, {
        proxy: `http://127.0.0.1:${proxy.port}`,
      });
      const error = await failure(summarize(intern));
      assert.match(error.message, /through the proxy .*: it answered with status 502\.$/);
      assertSentence(error.message, 'The message');
    });

    it('does not hide that the certificate behind it is not trusted', async () => {
      const proxy = await forwardProxy();
      const site = await reverseProxy(await ollama());
      const intern = hire(`https://gpu.test:${site.port}`, {
        proxy: `http://127.0.0.1:${proxy.port}`,
      });
      assert.match((await failure(summarize(intern))).message, /not trusted/);
    });

    it('is not asked about this machine', async () => {
      const proxy = await forwardProxy();
      const backend = await ollama();
      await summarize(hire(backend.url, { proxy: `http://127.0.0.1:${proxy.port}` }));
      assert.equal(proxy.seen.length, 0);
    });
  });

  it('this machine can be reached by IPv6, with TLS too', async function () {
    let site: Site;
    const backend = await ollama();
    try {
      site = await reverseProxy(backend, { token: TOKEN, address: '::1' });
    } catch {
      return this.skip();
    }
    const intern = hire(`https://[::1]:${site.port}`, { caFile: CA_FILE, proxy: 'http://a.test' });
    intern.setToken(intern.config.host, TOKEN);
    assert.ok((await summarize(intern)).result.summary);
  });

  describe('other settings', () => {
    it('count for the next call; one that runs keeps its way to its end', async () => {
      const backend = await ollama({ tokenMs: 15 });
      const site = await reverseProxy(backend);
      const proxy = await forwardProxy();
      const intern = hire(`https://gpu.test:${site.port}`, { caFile: CA_FILE });
      let started: () => void = () => {};
      const hasStarted = new Promise<void>((resolve) => (started = resolve));
      const running = summarize(intern, { onDelta: () => started() });
      await hasStarted;
      intern.set({ caFile: CA_FILE, proxy: `http://127.0.0.1:${proxy.port}` });
      assert.ok((await running).result.summary);
      const before = site.seen.length;
      assert.ok((await summarize(intern)).result.summary);
      assert.ok(proxy.seen.length > 0);
      assert.ok(site.seen.length > before);
    });

    it('close the old connections, but not before the calls that use them end', async () => {
      const backend = await ollama({ tokenMs: 15 });
      const site = await reverseProxy(backend);
      const connections = () =>
        new Promise<number>((resolve) => site.server.getConnections((_, count) => resolve(count)));
      const intern = hire(`https://gpu.test:${site.port}`, { caFile: CA_FILE });
      let started: () => void = () => {};
      const hasStarted = new Promise<void>((resolve) => (started = resolve));
      const running = summarize(intern, { onDelta: () => started() });
      await hasStarted;
      intern.set({ caFile: CA_FILE, headers: { 'X-New': '1' } });
      assert.ok((await connections()) > 0);
      await running;
      for (let i = 0; i < 200 && (await connections()) > 0; i++) {
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      assert.equal(await connections(), 0);
    });

    it('that change nothing about the network keep the connections', async () => {
      const site = await reverseProxy(await ollama());
      let opened = 0;
      site.server.on('secureConnection', () => opened++);
      const intern = hire(`https://gpu.test:${site.port}`, { caFile: CA_FILE });
      await intern.models.version();
      // A connection is free again a moment after its answer.
      await new Promise((resolve) => setTimeout(resolve, 50));
      intern.set({ caFile: CA_FILE });
      await intern.models.version();
      assert.equal(opened, 1);
    });
  });
});

/** Sends a request on, without what belongs to the hop. */
function pass(request: http.IncomingMessage, response: http.ServerResponse, url: string): void {
  const headers = { ...request.headers };
  delete headers['proxy-authorization'];
  delete headers.host;
  const onward = http.request(url, { method: request.method, headers }, (answer) => {
    response.writeHead(answer.statusCode ?? 502, answer.headers);
    answer.pipe(response);
  });
  onward.on('error', () => response.destroy());
  response.on('close', () => onward.destroy());
  request.pipe(onward);
}
