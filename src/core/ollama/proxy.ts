import { hasScheme, isLoopback } from '../address';

/** An HTTP proxy. Its credentials stand apart from its address, so that the address can be shown. */
export interface Proxy {
  /** Such as `http://proxy.example:3128`. */
  origin: string;
  /** The value of `Proxy-Authorization`. */
  authorization: string | undefined;
}

/** Which proxy stands before which server. */
export interface ProxyRules {
  http: Proxy | undefined;
  https: Proxy | undefined;
  /** Hosts that are reached directly, as NO_PROXY writes them. */
  bypass: readonly string[];
}

/** The proxy before a server, or undefined. This machine is never reached through a proxy. */
export function proxyFor(baseUrl: string, rules: ProxyRules): Proxy | undefined {
  const proxy = rules[baseUrl.startsWith('https:') ? 'https' : 'http'];
  if (!proxy || isLoopback(baseUrl)) return undefined;
  const target = hostAndPort(new URL(baseUrl));
  return rules.bypass.some((rule) => matches(rule, target)) ? undefined : proxy;
}

/** A proxy from what a person or a variable gives. Undefined: not an address of an HTTP proxy. */
export function parseProxy(text: string, authorization?: string): Proxy | undefined {
  const address = hasScheme(text) ? text : `http://${text}`;
  let url: URL;
  try {
    url = new URL(address);
  } catch {
    return undefined;
  }
  if (!/^https?:$/.test(url.protocol)) return undefined;
  return { origin: url.origin, authorization: authorization ?? basic(url) };
}

/** Rules are separated by commas or spaces. */
export function splitRules(text: string | undefined): string[] {
  return text?.split(/[\s,]+/).filter(Boolean) ?? [];
}

interface HostAndPort {
  host: string;
  port: string | undefined;
}

function hostAndPort(url: URL): HostAndPort {
  const port = url.port || (url.protocol === 'https:' ? '443' : '80');
  return { host: plain(url.hostname), port };
}

/** As curl, Go and the editor read them: a name stands for its subdomains too, with a dot before it for those alone. */
function matches(rule: string, target: HostAndPort): boolean {
  if (rule === '*') return true;
  const { host, port } = readRule(rule.toLowerCase());
  if (port !== undefined && port !== target.port) return false;
  if (host.startsWith('*.')) return target.host.endsWith(host.slice(1));
  if (host.startsWith('.')) return target.host.endsWith(host);
  return target.host === host || target.host.endsWith(`.${host}`);
}

/** `host`, `host:port`, `[::1]`, `[::1]:port`, and an IPv6 address as it is. */
function readRule(rule: string): HostAndPort {
  const [, host = rule, port] = /^(\[.*\]|[^:]*)(?::(\d+))?$/.exec(rule) ?? [];
  return { host: plain(host), port };
}

/** Without brackets and without the dot that ends a full name. */
function plain(host: string): string {
  return host.replace(/^\[(.*)\]$/, '$1').replace(/\.$/, '');
}

function basic({ username, password }: URL): string | undefined {
  if (username === '' && password === '') return undefined;
  const credentials = `${decoded(username)}:${decoded(password)}`;
  return `Basic ${Buffer.from(credentials).toString('base64')}`;
}

/** A percent sign that begins no escape stands for itself. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
