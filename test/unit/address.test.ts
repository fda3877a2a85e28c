import assert from 'node:assert/strict';
import fc from 'fast-check';
import { DEFAULT_HOST, hostLabel, isLoopback, parseHost } from '../../src/core/address';
import { assertHint, thrown } from './support';

describe('address', () => {
  describe('parseHost', () => {
    const cases: Record<string, [text: string, baseUrl: string][]> = {
      'takes nothing for this machine': [
        ['', DEFAULT_HOST],
        ['  ', DEFAULT_HOST],
        ['""', DEFAULT_HOST],
      ],
      'adds the scheme and the port of Ollama': [
        ['localhost', 'http://localhost:11434'],
        ['gpu-box', 'http://gpu-box:11434'],
        ['192.168.1.20', 'http://192.168.1.20:11434'],
        ['gpu-box:8080', 'http://gpu-box:8080'],
        [' gpu-box:8080 ', 'http://gpu-box:8080'],
        ['"gpu-box:8080"', 'http://gpu-box:8080'],
        ["'gpu-box'", 'http://gpu-box:11434'],
        ['GPU-Box', 'http://gpu-box:11434'],
      ],
      'takes a port alone for this machine, as Ollama does': [[':11500', 'http://127.0.0.1:11500']],
      'keeps a port that is the default of its scheme': [
        ['gpu-box:80', 'http://gpu-box'],
        ['gpu-box:443', 'http://gpu-box:443'],
      ],
      'leaves the port to a scheme that is given': [
        ['http://gpu-box', 'http://gpu-box'],
        ['https://gpu-box', 'https://gpu-box'],
        ['HTTPS://gpu-box:443', 'https://gpu-box'],
        ['http://gpu-box:11434', 'http://gpu-box:11434'],
        ['https://gpu-box.example:8443', 'https://gpu-box.example:8443'],
      ],
      'reaches ollama.com over https': [
        ['ollama.com', 'https://ollama.com'],
        ['ollama.com/', 'https://ollama.com'],
        ['ollama.com:443', 'https://ollama.com'],
        ['https://ollama.com', 'https://ollama.com'],
      ],
      'keeps a path and drops the slash at its end': [
        ['gpu-box/ollama', 'http://gpu-box:11434/ollama'],
        ['gpu-box:8080/ollama/', 'http://gpu-box:8080/ollama'],
        ['https://gpu-box/a/b//', 'https://gpu-box/a/b'],
        ['https://gpu-box/', 'https://gpu-box'],
      ],
      'understands the suffixes of its API': [
        ['http://localhost:11434/v1', 'http://localhost:11434'],
        ['http://localhost:11434/v1/', 'http://localhost:11434'],
        ['localhost/api', 'http://localhost:11434'],
        ['https://gpu-box/ollama/v1', 'https://gpu-box/ollama'],
        ['https://gpu-box/ollama/api/', 'https://gpu-box/ollama'],
        ['https://gpu-box/apis', 'https://gpu-box/apis'],
        ['https://gpu-box/v10', 'https://gpu-box/v10'],
        ['https://gpu-box/api/v1', 'https://gpu-box'],
      ],
      'maps addresses that only a server can bind to loopback': [
        ['0.0.0.0', 'http://127.0.0.1:11434'],
        ['0.0.0.0:8080', 'http://127.0.0.1:8080'],
        ['http://0.0.0.0:11434/v1', 'http://127.0.0.1:11434'],
        ['[::]', 'http://[::1]:11434'],
        ['[::]:8080', 'http://[::1]:8080'],
        ['::', 'http://[::1]:11434'],
      ],
      'reads IPv6 with brackets': [
        ['[::1]', 'http://[::1]:11434'],
        ['[::1]:8080', 'http://[::1]:8080'],
        ['http://[::1]', 'http://[::1]'],
        ['[2001:DB8::7]/ollama', 'http://[2001:db8::7]:11434/ollama'],
      ],
      'reads IPv6 without brackets, where no port can stand': [
        ['::1', 'http://[::1]:11434'],
        ['2001:db8::7', 'http://[2001:db8::7]:11434'],
        ['fe80::abcd', 'http://[fe80::abcd]:11434'],
        ['::1/ollama', 'http://[::1]:11434/ollama'],
      ],
    };
    for (const [behaviour, rows] of Object.entries(cases)) {
      it(behaviour, () => {
        assert.deepEqual(
          rows.map(([text]) => [text, parseHost(text)]),
          rows,
        );
      });
    }

    it('refuses what is no address, with the setting to correct', () => {
      const garbage = [
        'not an address',
        'http://',
        'ftp://gpu-box',
        'file:///etc/passwd',
        'vscode://settings',
        'gpu-box:port',
        'gpu-box:99999',
        'http://[::1',
        'a b:11434',
        '%',
      ];
      for (const text of garbage) {
        const error = thrown(() => parseHost(text));
        assert.equal(error.code, 'config', text);
        assert.ok(error.message.includes(text), `does not quote ${text}: ${error.message}`);
        assertHint(error.hint);
        assert.deepEqual(error.actions, [{ kind: 'open_setting', setting: 'ollamaIntern.host' }]);
      }
    });

    it('shows no password of an address that carries one', () => {
      assert.equal(parseHost('http://me:secret@gpu-box:8080'), 'http://gpu-box:8080');
    });

    it('reads what it wrote as the same address', () => {
      const host = fc.oneof(
        fc.domain(),
        fc.ipV4(),
        fc.ipV6().map((ip) => `[${ip}]`),
        fc.ipV6(),
        fc.constantFrom('localhost', '0.0.0.0', '::', 'ollama.com', 'OLLAMA.com'),
      );
      const scheme = fc.constantFrom('', 'http://', 'https://', 'HTTP://');
      const port = fc.option(fc.integer({ min: 1, max: 65535 }), { nil: undefined });
      const segment = fc.constantFrom('v1', 'api', 'ollama', 'a b', '', '%20', 'ü');
      const address = fc
        .tuple(scheme, host, port, fc.array(segment, { maxLength: 4 }))
        .map(
          ([s, h, p, path]) => `${s}${h}${p ? `:${p}` : ''}${path.map((x) => `/${x}`).join('')}`,
        );
      fc.assert(
        fc.property(fc.oneof(address, fc.string()), (text) => {
          let once: string;
          try {
            once = parseHost(text);
          } catch {
            return;
          }
          assert.equal(parseHost(once), once);
          assert.doesNotMatch(once, /\/$/);
        }),
        { numRuns: 500, examples: [['&/\'"'], ["'box/'/v1"]] },
      );
    });
  });

  describe('isLoopback', () => {
    const rows: [baseUrl: string, loopback: boolean][] = [
      ['http://127.0.0.1:11434', true],
      ['http://127.0.0.2:11434', true],
      ['http://127.255.255.254', true],
      ['http://localhost:11434', true],
      ['http://LOCALHOST', true],
      ['http://ollama.localhost', true],
      ['http://[::1]:11434', true],
      ['http://192.168.1.20:11434', false],
      ['http://[::2]:11434', false],
      ['https://ollama.com', false],
      ['http://localhost.example', false],
      ['http://notlocalhost', false],
      ['http://127.0.0.1.example:11434', false],
      ['http://127.example', false],
      ['http://1127.0.0.1.example', false],
    ];
    for (const [baseUrl, loopback] of rows) {
      it(`${loopback ? 'knows' : 'does not take'} ${baseUrl} ${loopback ? 'as' : 'for'} its own`, () => {
        assert.equal(isLoopback(baseUrl), loopback);
      });
    }
  });

  it('leaves out a scheme that says nothing when it shows an address', () => {
    assert.equal(hostLabel('http://127.0.0.1:11434'), '127.0.0.1:11434');
    assert.equal(hostLabel('https://gpu-box/ollama'), 'https://gpu-box/ollama');
  });
});
