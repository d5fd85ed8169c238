import assert from 'node:assert/strict';
import { pino } from 'pino';
import { MockAgent } from 'undici';
import type { AlertPolicy } from '../../../api/index.ts';
import { KubeError } from '../../../operator/errors.ts';
import { AlertReader } from '../../../operator/health-checks/alert-reader.ts';
import { readAlerts, type AlertsRead, type PrometheusOptions } from '../../../operator/health-checks/prometheus.ts';
import type { Secret } from '../../../operator/kube/objects.ts';
import { PrometheusStandIn } from '../../../testbed/prometheus-stand-in.ts';
import { FakeClock } from './fake-clock.ts';

const never = new AbortController().signal;
const base64 = (text: string) => Buffer.from(text).toString('base64');

function policyFor(prometheusURL: string, rest: Partial<AlertPolicy> = {}): AlertPolicy {
  return { prometheusURL, ignore: ['Watchdog'], onUnreachable: 'Hold', ...rest };
}

const noSecret: PrometheusOptions = { readSecret: () => assert.fail('no Secret is named') };

describe('The alerts of a Prometheus', () => {
  let prometheus: PrometheusStandIn;

  beforeEach(async () => {
    prometheus = await PrometheusStandIn.start();
  });
  afterEach(() => prometheus[Symbol.asyncDispose]());

  const read = (rest?: Partial<AlertPolicy>) => readAlerts(policyFor(prometheus.url, rest), noSecret, never);
  const why = async (rest?: Partial<AlertPolicy>) => {
    const said = await read(rest);
    return 'unreachable' in said ? said.unreachable : assert.fail(JSON.stringify(said));
  };

  it('that count are those that fire, that the selector selects, and that are not ignored; each is named once', async () => {
    prometheus.alerts = [
      { labels: { alertname: 'Watchdog', severity: 'none' } },
      { labels: { alertname: 'DiskFull', severity: 'critical', node: 'a' } },
      { labels: { alertname: 'DiskFull', severity: 'critical', node: 'b' } },
      { labels: { alertname: 'CertOld', severity: 'warning' } },
      { labels: { alertname: 'Soon', severity: 'critical' }, state: 'pending' },
    ];
    assert.deepEqual(await read(), { firing: ['CertOld', 'DiskFull'] });
    assert.deepEqual(await read({ selector: { matchLabels: { severity: 'critical' } } }), { firing: ['DiskFull'] });
    assert.deepEqual(await read({ ignore: ['CertOld', 'DiskFull'] }), { firing: ['Watchdog'] });
    assert.deepEqual(prometheus.requests[0], 'GET /api/v1/alerts -');
  });

  it('are asked for below a path, too', async () => {
    assert.match(await why({ prometheusURL: `${prometheus.url}/prometheus/` }), /answers with HTTP 404\.$/);
    assert.equal(prometheus.requests[0], 'GET /prometheus/api/v1/alerts -');
  });

  it('cannot be told where redirects lead elsewhere, and nobody goes there', async () => {
    await using other = await PrometheusStandIn.start();
    prometheus.answer = (response) => void response.writeHead(302, { location: `${other.url}/api/v1/alerts` }).end();
    assert.match(await why(), /redirects \(HTTP 302\), which is not followed/);
    assert.deepEqual(other.requests, []);
  });

  it('cannot be told from what is too long, no JSON, no Prometheus, or a refusal', async () => {
    prometheus.answer = (response) => {
      response.writeHead(200);
      const chunk = Buffer.alloc(1024 * 1024, 'x');
      const more = () => {
        while (!response.destroyed && response.write(chunk));
        if (!response.destroyed) response.once('drain', more);
      };
      more();
    };
    assert.match(await why(), /answers with more than \d+ bytes/);
    for (const [code, body, says] of [
      [200, 'hello', /does not answer like a Prometheus; see the URL/],
      [
        200,
        '{"status":"success","data":{"alerts":[{"labels":{"alertname":7},"state":"firing"}]}}',
        /like a Prometheus/,
      ],
      [200, '{"status":"error"}', /like a Prometheus/],
      [403, 'no', /refuses the operator \(HTTP 403\); see spec\.health\.alerts\.secretRef/],
      [503, 'secret words', /answers with HTTP 503\.$/],
    ] as const) {
      prometheus.answer = (response) => void response.writeHead(code).end(body);
      assert.match(await why(), says);
    }
  });

  it('cannot be told when nobody is there, in words that stay the same', async () => {
    const policy = policyFor('http://127.0.0.1:1');
    const said = await readAlerts(policy, noSecret, never);
    assert.deepEqual(said, { unreachable: 'http://127.0.0.1:1 does not answer: ECONNREFUSED.' });
  });
});

describe('The Secret of a Prometheus', () => {
  const URL = 'https://prometheus.example:9090';
  const secret = (data: Record<string, string>, type = 'treeline.dev/prometheus'): Secret => ({
    metadata: { uid: 's', resourceVersion: '1' },
    type,
    data: Object.fromEntries(Object.entries(data).map(([key, value]) => [key, base64(value)])),
  });
  const reading = async (given: Secret | KubeError, url = URL): Promise<{ said: AlertsRead; sent: unknown }> => {
    const dispatcher = new MockAgent();
    dispatcher.disableNetConnect();
    let sent: unknown;
    dispatcher
      .get(url)
      .intercept({ path: '/api/v1/alerts' })
      .reply(200, ({ headers }) => {
        sent = (headers as Record<string, string>)['authorization'];
        return { status: 'success', data: { alerts: [] } };
      });
    const readSecret = async () => {
      if (given instanceof KubeError) throw given;
      return given;
    };
    const said = await readAlerts(policyFor(url, { secretRef: { name: 'x' } }), { readSecret, dispatcher }, never);
    return { said, sent };
  };

  it('gives the token that is sent to the very URL that it names', async () => {
    const { said, sent } = await reading(secret({ url: URL, token: 'abc\n' }));
    assert.deepEqual([said, sent], [{ firing: [] }, 'Bearer abc']);
  });

  for (const [what, given, url, says] of [
    [
      'is of another type',
      secret({ url: URL, token: 'abc' }, 'Opaque'),
      URL,
      /must be of type treeline\.dev\/prometheus/,
    ],
    [
      'names another URL',
      secret({ url: 'https://else.example', token: 'abc' }),
      URL,
      /with that very URL under the key url/,
    ],
    ['is not there', new KubeError('NotFound', 'no'), URL, /is not in the operator's namespace/],
    [
      'has a token for a URL that anybody can listen to',
      secret({ url: 'http://prometheus.example', token: 'abc' }),
      'http://prometheus.example',
      /only sent over https/,
    ],
  ] as const)
    it(`that ${what} sends nothing anywhere`, async () => {
      const { said, sent } = await reading(given, url);
      assert.equal(sent, undefined);
      assert.match('unreachable' in said ? said.unreachable : '', says);
    });
});

describe('The reader of alerts', () => {
  it('asks only while it is wanted, sooner while something fires, and forgets what is old or was asked otherwise', async () => {
    const clock = new FakeClock();
    let found: AlertsRead = { firing: [] };
    const reads: number[] = [];
    const reader = new AlertReader({
      read: async () => {
        reads.push(clock.monotonicMs());
        return found;
      },
      onReport: () => undefined,
      clock,
      logger: pino({ level: 'silent' }),
    });
    const policy = policyFor('http://prometheus.example');
    const wantFor = async (seconds: number) => {
      const before = reads.length;
      for (let second = 0; second < seconds; second++) {
        reader.request('fleet', policy);
        await clock.advance(1000);
      }
      return reads.length - before;
    };
    const quiet = await wantFor(60);
    assert.ok(quiet >= 3 && quiet <= 5, `${quiet}`);
    found = { firing: ['DiskFull'] };
    await wantFor(20);
    assert.deepEqual(reader.report().get('fleet')?.firing, ['DiskFull']);
    const loud = await wantFor(300);
    assert.ok(loud >= 9 && loud <= 20, `${loud}`);
    const other = policyFor('http://else.example');
    reader.request('fleet', other);
    assert.equal(reader.report().get('fleet'), undefined, 'nobody has asked there yet');
    await clock.advance(0);
    assert.deepEqual(reader.report().get('fleet')?.policy, other);
    const before = reads.length;
    await clock.advance(600_000);
    assert.equal(reader.report().size, 0);
    assert.equal(reads.length, before);
    await reader.stop();
  });
});
