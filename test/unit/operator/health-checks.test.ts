import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { pino } from 'pino';
import type { HealthCheck } from '../../../api/index.ts';
import { KubeError } from '../../../operator/errors.ts';
import { CheckReader } from '../../../operator/health-checks/check-reader.ts';
import { CheckedObjects } from '../../../operator/health-checks/checked-objects.ts';
import type { ReadObjects } from '../../../operator/health-checks/checked-objects.ts';
import { evaluateCheck } from '../../../operator/health-checks/evaluate.ts';
import { labelQuery } from '../../../operator/health-checks/label-query.ts';
import type { CallOptions } from '../../../operator/kube/connection.ts';
import { compileCheck } from '../../../operator/rollout/check-expression.ts';
import { FakeClock } from './fake-clock.ts';

const WEB = { apiVersion: 'apps/v1', kind: 'Deployment', namespace: 'shop', name: 'web' };

function check(expression: string, rest: Partial<HealthCheck> = {}): HealthCheck {
  return { name: 'web', when: ['BeforeNode'], object: WEB, expression, ...rest };
}

const web = (readyReplicas: number) => ({ spec: { replicas: 3n }, status: { readyReplicas: BigInt(readyReplicas) } });
const NODE = { name: 'node-1', labels: { zone: 'a' } };

describe('The expression of a check', () => {
  for (const [what, expression, says, when = ['BeforeNode'] as const] of [
    ['is none', 'object.status.readyReplicas >=', /^Unexpected token/],
    ['names what is not there', 'deployment.status.readyReplicas > 1', /^Unknown variable: deployment$/],
    [
      'speaks of a node before there is one',
      'node.name == "a"',
      /^Unknown variable: node; `node` is not there with when: BeforeRollout$/,
      ['BeforeRollout', 'BeforeNode'],
    ],
    ['compares what cannot be compared', '"three" + 1 == "x"', /no such overload/],
    ['is no question', '"true"', /^it is of type string, and must be bool$/],
    ['is out of all proportion', `${'true && '.repeat(300)}true`, /./],
    ['builds on what it has built', '["a"].map(s, s + s).map(s, s + s).size() > 0', /map\(\) goes over what was put/],
    ['hides what it has built', '[["a" + "b"]].all(l, l.map(s, s + s)[0] == "")', /all\(\) goes over what was put/],
    ['binds what it has built', 'cel.bind(x, "a" + "b", x + x) == "a"', /bind\(\) is not there for checks/],
    ['joins', 'objects.map(o, o.name).join("") == ""', /join\(\) is not there for checks/],
    ['makes bytes of bytes', 'bytes(bytes("a").hex()).size() > 1', /bytes\(\) is not there for checks/],
    ['takes apart what it has built', '("a" + "b").split("").size() > 1', /split\(\) is of what was put together/],
    ['copies for each pair', 'objects.all(a, objects.all(b, b.name.trim() == ""))', /trim\(\) stands in a loop within/],
    ['is nested without end', `${'('.repeat(200)}true${')'.repeat(200)}`, /./],
  ] as const)
    it(`that ${what} is known as such before anything is read`, () => {
      const compiled = compileCheck(check(expression, { when: [...when] }));
      assert.ok('invalid' in compiled);
      assert.match(compiled.invalid, says);
    });

  for (const expression of [
    'objects.exists(o, o.metadata.name == "agent-" + string(1 + 2))',
    'objects.filter(o, o.n + 1 > 3).all(o, o.name.split("-")[0].lowerAscii() == "a")',
    'objects.map(o, o.name).exists(n, n + "x" == "yx")',
    'objects.all(a, objects.exists(b, a.owner == b.name))',
  ])
    it(`that puts texts together, once, is as good as any: ${expression}`, () =>
      assert.ok('evaluate' in compileCheck(check(expression))));

  it('that names the one object where a list is read is told what is missing', () => {
    const { name: _, ...object } = WEB;
    const compiled = compileCheck(check('object.spec.replicas > 0', { object }));
    assert.match(
      'invalid' in compiled ? compiled.invalid : '',
      /^Unknown variable: object; `object` is there with object\.name only$/,
    );
  });

  it('is true or false of what was read, with whole numbers as int', () => {
    const three = check('object.status.readyReplicas + 1 > object.spec.replicas && size(objects) == 1');
    assert.equal(evaluateCheck(three, [web(3)]).verdict, 'True');
    assert.equal(evaluateCheck(three, [web(2)]).verdict, 'False');
  });

  it('may have one pool of nodes wait for another: an OSImage is an object, too', () => {
    const object = { apiVersion: 'treeline.dev/v1alpha1', kind: 'OSImage', name: 'workers' };
    const page = readFileSync(new URL('../../../docs/tasks/health-checks.md', import.meta.url), 'utf8');
    const [, said = ''] = /expression: >-\n([^]*?)\n +message: The workers come first/.exec(page) ?? [];
    const after = check(said.replaceAll(/\s+/g, ' ').trim(), { object, when: ['BeforeRollout', 'BeforeNode'] });
    const workers = (version: number, status: string, generation = 3n) => ({
      metadata: { generation },
      spec: { image: { reference: `registry.example.com/os/debian:${version}` } },
      status: { conditions: [{ type: 'Ready', status, observedGeneration: 3n }] },
    });
    assert.equal(evaluateCheck(after, [workers(2, 'True')]).verdict, 'True');
    for (const busy of [workers(1, 'True'), workers(2, 'False'), workers(2, 'True', 4n)])
      assert.equal(evaluateCheck(after, [busy]).verdict, 'False');
  });

  it('may speak of the node that is back, and is only read for before', () => {
    const about = check('objects.exists(o, o.node == node.name) && node.labels.zone == "a"', { when: ['AfterNode'] });
    assert.equal(evaluateCheck(about, [{ node: 'node-1' }]).verdict, 'Readable');
    assert.equal(evaluateCheck(about, [{ node: 'node-1' }], NODE).verdict, 'True');
    assert.equal(evaluateCheck(about, [{ node: 'node-2' }], NODE).verdict, 'False');
  });

  it('may speak of the node that is next, and where it does not, is one answer for all', () => {
    for (const when of [['BeforeNode'], ['BeforeNode', 'AfterNode']] as const) {
      const about = check('objects.exists(o, o.node == node.name)', { when: [...when] });
      assert.equal(evaluateCheck(about, [{ node: 'node-1' }]).verdict, 'Readable');
      assert.equal(evaluateCheck(about, [{ node: 'node-2' }], NODE).verdict, 'False');
      assert.equal(evaluateCheck(check('size(objects) == 1', { when: [...when] }), [web(3)]).verdict, 'True');
    }
  });

  for (const [what, expression, says] of [
    ['a field that is not there', 'object.status.missing > 1', /fails \(No such key: missing\); has\(\) tells/],
    ['an answer that is neither', 'object.status.readyReplicas', /does not come to true or false/],
    ['loops', 'objects.all(a, objects.all(b, objects.all(c, a.n + b.n + c.n >= 0)))', /takes longer than 250 ms/],
    ['patterns', '"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!".matches("^(a+)+$")', /takes longer than 250 ms/],
  ] as const)
    it(`is not true, and never ends the operator, for ${what}`, () => {
      const many = Array.from({ length: 500 }, (_, n) => ({ ...web(1), n: BigInt(n) }));
      const startMs = performance.now();
      const { verdict, message } = evaluateCheck(check(expression), many);
      assert.equal(verdict, 'Unreadable');
      assert.match(message, says);
      assert.ok(performance.now() - startMs < 5000, 'it was ended');
    });
});

describe('The objects of a check', () => {
  const deployments = { resources: [{ name: 'deployments', kind: 'Deployment', namespaced: true }] };
  const nodes = {
    resources: [
      { name: 'nodes/status', kind: 'Node' },
      { name: 'nodes', kind: 'Node', namespaced: false },
    ],
  };
  const paths: string[] = [];
  const reading = async (object: HealthCheck['object'], answer: () => unknown): Promise<ReadObjects> => {
    paths.length = 0;
    const call = async (_: string, path: string, options: CallOptions = {}) => {
      paths.push(`${path}${options.query === undefined ? '' : `?${String(options.query['labelSelector'] ?? '')}`}`);
      if (path === '/apis/apps/v1') return deployments;
      if (path === '/api/v1') return nodes;
      return answer();
    };
    return new CheckedObjects({ call }, 'treeline-system').read(object, new AbortController().signal);
  };
  const failing = (code: KubeError['code'], message: string) => () => {
    throw new KubeError(code, message);
  };

  it('are read by name, or listed by selector, under the name that the API server gives the kind', async () => {
    const metadata = { name: 'web', managedFields: ['much'] };
    const one = await reading(WEB, () => ({ metadata, status: { readyReplicas: 3, ratio: 0.5 } }));
    assert.deepEqual(one, { objects: [{ metadata: { name: 'web' }, status: { readyReplicas: 3n, ratio: 0.5 } }] });
    assert.equal(paths.at(-1), '/apis/apps/v1/namespaces/shop/deployments/web');
    const { name: _, namespace: __, ...all } = WEB;
    const selector = { matchLabels: { app: 'web' }, matchExpressions: [{ key: 'x', operator: 'Exists' as const }] };
    const list = await reading({ ...all, selector }, () => ({ metadata: {}, items: [{ metadata: {} }] }));
    assert.ok('objects' in list && list.objects.length === 1);
    assert.equal(paths.at(-1), '/apis/apps/v1/deployments?app=web,x');
    await reading({ apiVersion: 'v1', kind: 'Node', name: 'a' }, () => ({ metadata: {} }));
    assert.equal(paths.at(-1), '/api/v1/nodes/a');
  });

  it('that are forbidden come back as the commands that allow just them', async () => {
    const said = await reading(WEB, failing('Forbidden', 'deployments.apps "web" is forbidden'));
    assert.ok('verdict' in said && said.verdict === 'Forbidden');
    assert.equal(
      said.message,
      'deployments.apps "web" is forbidden. To allow it: kubectl create role -n shop treeline-reads-deployments --resource=deployments.apps --verb=get --resource-name=web && kubectl create rolebinding -n shop treeline-reads-deployments --role=treeline-reads-deployments --serviceaccount=treeline-system:treeline-operator',
    );
    const { name: _, namespace: __, ...all } = WEB;
    const everywhere = await reading(all, failing('Forbidden', 'no'));
    assert.match(
      'message' in everywhere ? everywhere.message : '',
      /create clusterrole .* --verb=list && kubectl create clusterrolebinding/,
    );
  });

  it('that are not there, are too many, or are not answered for, say so', async () => {
    const { namespace: _, ...unplaced } = WEB;
    for (const [object, answer, says] of [
      [WEB, failing('NotFound', 'not found'), /^There is no Deployment\/shop\/web\.$/],
      [WEB, failing('Timeout', 'no answer'), /^The API server does not say: no answer\.$/],
      [{ ...WEB, kind: 'Circus' }, () => ({}), /^The API server serves no Circus in apps\/v1\.$/],
      [unplaced, () => ({}), /object\.namespace is missing/],
      [{ apiVersion: 'v1', kind: 'Node' }, () => ({ metadata: { continue: 'x' }, items: [] }), /more than 500/],
    ] as const) {
      const said = await reading(object, answer);
      assert.ok('verdict' in said && said.verdict === 'Unreadable');
      assert.match(said.message, says);
    }
  });

  it('are selected as the API server selects', () => {
    const matchExpressions = [
      { key: 'a', operator: 'In' as const, values: ['x', 'y'] },
      { key: 'b', operator: 'NotIn' as const, values: ['z'] },
      { key: 'c', operator: 'DoesNotExist' as const },
    ];
    assert.equal(labelQuery({ matchLabels: { k: 'v' }, matchExpressions }), 'k=v,a in (x,y),b notin (z),!c');
    assert.equal(labelQuery({}), '');
  });
});

describe('The reader of checks', () => {
  const scene = () => {
    const clock = new FakeClock();
    const reads: number[] = [];
    let found: ReadObjects = { objects: [web(3)] };
    const reader = new CheckReader({
      read: async () => {
        reads.push(clock.monotonicMs());
        return found;
      },
      onReport: () => undefined,
      clock,
      logger: pino({ level: 'silent' }),
    });
    const is = (next: ReadObjects) => void (found = next);
    return { clock, reads, reader, is };
  };
  const all = check('object.status.readyReplicas == 3');
  const ask = { image: 'fleet', check: all };

  it('reads only while it is asked, once for all that speak of the same objects', async () => {
    const { clock, reads, reader } = scene();
    reader.request(ask);
    reader.request({ ...ask, check: check('object.status.readyReplicas > 5', { name: 'more' }) });
    await clock.advance(0);
    assert.equal(reads.length, 1);
    const verdicts = [...reader.report()].map(([key, { verdict }]) => `${key} ${verdict}`);
    assert.deepEqual(verdicts, ['fleet/web True', 'fleet/more False']);
    await clock.advance(600_000);
    assert.equal(reads.length, 1, 'nobody asks any more');
    assert.equal(reader.report().size, 0, 'and nothing old is believed');
  });

  it('looks again at what is true every 15 seconds or so, and at what is not soon and then less often', async () => {
    const { clock, reads, reader, is } = scene();
    const askFor = async (seconds: number) => {
      const before = reads.length;
      for (let second = 0; second < seconds; second++) {
        reader.request(ask);
        await clock.advance(1000);
      }
      return reads.length - before;
    };
    const whileTrue = await askFor(60);
    assert.ok(whileTrue >= 3 && whileTrue <= 5, `${whileTrue}`);
    is({ objects: [web(1)] });
    const before = reads.length;
    await askFor(180);
    const gaps = reads.slice(before).map((ms, index, all) => (index === 0 ? 0 : ms - (all[index - 1] ?? 0)));
    assert.ok((gaps[1] ?? Infinity) <= 3000, `first after ${gaps[1]} ms`);
    assert.ok((gaps.at(-1) ?? 0) >= 15_000 && Math.max(...gaps) <= 31_000, gaps.join());
    is({ objects: [web(3)] });
    await askFor(31);
    assert.equal(reader.report().get('fleet/web')?.verdict, 'True');
  });

  it('reads anew for a node that came back after the last reading', async () => {
    const { clock, reads, reader } = scene();
    reader.request(ask);
    await clock.advance(1000);
    const since = clock.now().toISOString();
    reader.request({ ...ask, about: NODE, since });
    await clock.advance(0);
    assert.equal(reads.length, 2);
    const { readTime } = reader.report().get('fleet/web/node-1') ?? assert.fail();
    assert.ok(+readTime >= Date.parse(since));
  });

  it('believes no answer to an expression that was changed since', async () => {
    const { clock, reader } = scene();
    reader.request(ask);
    await clock.advance(0);
    const changed = check('object.status.readyReplicas == 4');
    reader.request({ ...ask, check: changed });
    const answer = reader.report().get('fleet/web');
    assert.deepEqual([answer?.check, answer?.verdict], [changed, 'False'], 'what was read serves it too');
  });

  it('evaluates what takes too long once over the same objects, not for each node', async () => {
    const { clock, reader, is } = scene();
    is({ objects: Array.from({ length: 500 }, (_, n) => ({ n: BigInt(n) })) });
    const slow = check('objects.all(a, objects.all(b, objects.all(c, a.n + b.n + c.n >= 0))) && node.name != ""', {
      when: ['AfterNode'],
    });
    const startMs = performance.now();
    for (let node = 0; node < 50; node++)
      reader.request({ image: 'fleet', check: slow, about: { name: `node-${node}`, labels: {} } });
    for (let turn = 0; turn < 20; turn++) await clock.advance(0);
    const answers = [...reader.report().values()];
    assert.equal(answers.length, 50);
    assert.ok(answers.every(({ verdict, message }) => verdict === 'Unreadable' && message.includes('takes longer')));
    assert.ok(performance.now() - startMs < 5000, 'fifty times 250 ms would be more');
  });

  it('forgets everything when it is stopped', async () => {
    const { clock, reader } = scene();
    reader.request(ask);
    await clock.advance(0);
    await reader.stop();
    assert.equal(reader.report().size, 0);
  });
});
