/** The operator notices that what keeps everybody to what is theirs has been taken away or weakened. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import { parseAllDocuments } from 'yaml';
import { deviations, type LivePolicy } from '../../../operator/admission/deviations.ts';
import { PolicyInspection } from '../../../operator/admission/policy-inspection.ts';
import { policiesFor, type PolicySpec, type ShippedPolicy } from '../../../operator/admission/shipped-policies.ts';
import { KubeError } from '../../../operator/errors.ts';
import { FakeClock } from './fake-clock.ts';

const ROOT = join(import.meta.dirname, '..', '..', '..');
const EVERYTHING = {
  namespace: 'treeline-system',
  builds: { namespace: 'b', builderImage: 'i' },
  lifecycleConditions: true,
  maintenanceLeases: 'medik8s-leases',
};

function shipped(name: string): ShippedPolicy {
  const found = policiesFor(EVERYTHING).find((policy) => policy.name === name);
  assert.ok(found);
  return found;
}

/** As the API server gives it back: with its defaults. */
function live({ policy, binding }: ShippedPolicy): Required<LivePolicy> {
  const { matchConstraints } = policy;
  const rules = matchConstraints?.resourceRules?.map((rule) => ({ scope: '*', ...rule }));
  const defaults = { matchPolicy: 'Equivalent', namespaceSelector: {}, objectSelector: {} };
  return {
    policy: { spec: { ...policy, matchConstraints: { ...matchConstraints, ...defaults, resourceRules: rules ?? [] } } },
    binding: { spec: { ...binding } },
  };
}

describe('an admission policy that Treeline ships', () => {
  const ours = shipped('treeline-agent-own-node');
  const theirs = live(ours);
  const changed = (spec: Partial<PolicySpec>): LivePolicy => ({
    ...theirs,
    policy: { spec: { ...theirs.policy.spec, ...spec } },
  });
  const match = theirs.policy.spec?.matchConstraints ?? {};
  const [rule = {}] = match.resourceRules ?? [];

  for (const policy of policiesFor(EVERYTHING)) {
    it(`is in force as the API server gives it back: ${policy.name}`, () =>
      assert.deepEqual(deviations(policy, live(policy)), []));
  }

  const selector = { matchLabels: { a: 'b' } };
  const cases: readonly [string, LivePolicy, RegExp][] = [
    ['is gone', {}, /^is not there$/],
    ['is there without a binding', { policy: theirs.policy }, /^is not bound$/],
    ['fails open', changed({ failurePolicy: 'Ignore' }), /fails open \(failurePolicy Ignore\)/],
    ['hangs on parameters', changed({ paramKind: { kind: 'ConfigMap' } }), /paramKind/],
    [
      'is about less',
      changed({ matchConstraints: { ...match, resourceRules: [{ ...rule, resources: ['nodeoses'] }] } }),
      /resourceRules/,
    ],
    [
      'is about one object',
      changed({ matchConstraints: { ...match, resourceRules: [{ ...rule, resourceNames: ['a'] }] } }),
      /resourceRules/,
    ],
    [
      'is about fewer operations',
      changed({ matchConstraints: { ...match, resourceRules: [{ ...rule, operations: ['DELETE'] }] } }),
      /resourceRules/,
    ],
    ['leaves objects out', changed({ matchConstraints: { ...match, objectSelector: selector } }), /objectSelector/],
    [
      'leaves resources out',
      changed({ matchConstraints: { ...match, excludeResourceRules: [rule] } }),
      /excludeResourceRules/,
    ],
    [
      'leaves requests out',
      changed({ matchConditions: [{ name: 'never', expression: 'false' }] }),
      /leaves out some requests \(matchConditions never\)/,
    ],
    [
      'has another idea of who an agent is',
      changed({ matchConditions: [{ name: 'is-an-agent', expression: 'false' }] }),
      /matchConditions is-an-agent/,
    ],
    [
      'understands something else by the node of an agent',
      changed({ variables: [{ name: 'node', expression: '[request.name]' }] }),
      /the variable node/,
    ],
    [
      'lacks a validation',
      changed({ validations: ours.policy.validations?.slice(1) ?? [] }),
      /lacks the validation "the token of the agent names no node/,
    ],
    ['only warns', { ...theirs, binding: { spec: { ...ours.binding, validationActions: ['Warn'] } } }, /does not deny/],
    ['binds another policy', { ...theirs, binding: { spec: { ...ours.binding, policyName: 'x' } } }, /is of x/],
    [
      'is bound for some objects only',
      { ...theirs, binding: { spec: { ...ours.binding, matchResources: { objectSelector: selector } } } },
      /matchResources/,
    ],
    [
      'is bound with parameters',
      { ...theirs, binding: { spec: { ...ours.binding, paramRef: { name: 'x' } } } },
      /paramRef/,
    ],
  ];
  for (const [what, weakened, pattern] of cases) {
    it(`is not in force when it ${what}`, () => assert.match(deviations(ours, weakened).join('; '), pattern));
  }

  it('may refuse more than what is shipped', () => {
    const further = { expression: 'false', message: 'not on Sundays' };
    const stricter = changed({
      matchConditions: [],
      matchConstraints: { ...match, resourceRules: [rule, { ...rule, apiGroups: ['other'] }] },
      validations: [...(ours.policy.validations ?? []), further],
    });
    const binding = { spec: { ...ours.binding, validationActions: ['Deny', 'Audit'] } };
    assert.deepEqual(deviations(ours, { ...stricter, binding }), []);
  });

  it('is asked for only where the operator was told to do what it guards', () => {
    const names = policiesFor({ namespace: 'treeline-system' }).map(({ name }) => name);
    assert.deepEqual(names, [
      'treeline-agent-own-node',
      'treeline-node-os-operator-only',
      'treeline-operator-own-marks-only',
    ]);
  });

  it('may be read by the operator, by name, and every one of them', () => {
    const documents = parseAllDocuments(readFileSync(join(ROOT, 'manifests/base/operator-rbac.yaml'), 'utf8'));
    const rules = documents.flatMap((one) => (one.toJS() as { rules?: { apiGroups: string[] }[] }).rules ?? []);
    assert.deepEqual(
      rules.filter(({ apiGroups }) => apiGroups.includes('admissionregistration.k8s.io')),
      [
        {
          apiGroups: ['admissionregistration.k8s.io'],
          resources: ['validatingadmissionpolicies', 'validatingadmissionpolicybindings'],
          resourceNames: policiesFor(EVERYTHING).map(({ name }) => name),
          verbs: ['get'],
        },
      ],
    );
  });

  it('speaks of the accounts of the namespace that the operator lives in', () => {
    const [first] = policiesFor({ namespace: 'os-updates' });
    assert.match(first?.policy.matchConditions?.[0]?.expression ?? '', /serviceaccount:os-updates:treeline-agent'/);
  });
});

describe('the look at admission policies', () => {
  function scene(start: { readonly failure?: Error } = {}) {
    const policies = policiesFor({ namespace: 'treeline-system' });
    const byName = new Map<string, LivePolicy>(policies.map((policy) => [policy.name, live(policy)]));
    const clock = new FakeClock();
    const stop = new AbortController();
    let failure: Error | undefined = start.failure;
    let changes = 0;
    const read = (name: string, part: 'policy' | 'binding') => {
      if (failure !== undefined) return Promise.reject(failure);
      const found = byName.get(name)?.[part];
      return found === undefined ? Promise.reject(new KubeError('NotFound', name)) : Promise.resolve(found);
    };
    const inspection = new PolicyInspection({
      policies,
      readPolicy: (name) => read(name, 'policy') as Promise<object>,
      readBinding: (name) => read(name, 'binding') as Promise<object>,
      onChange: () => changes++,
      clock,
      logger: pino({ level: 'silent' }),
    });
    const running = inspection.run(stop.signal);
    return {
      inspection,
      byName,
      clock,
      changes: () => changes,
      fail: (error: Error | undefined) => (failure = error),
      end: async () => {
        stop.abort();
        await running;
      },
    };
  }

  it('says which is missing and which manifest puts it back, and takes that back when it is there again', async () => {
    const { inspection, byName, clock, changes, end } = scene();
    await clock.advance(0);
    const fine = inspection.report();
    assert.deepEqual(fine, { deviating: [] });
    const kept = byName.get('treeline-agent-own-node');
    byName.delete('treeline-agent-own-node');
    await clock.advance(20_000);
    const manifest = 'manifests/base/agent-own-node-policy.yaml';
    assert.deepEqual(inspection.report()?.deviating, [
      { policy: 'treeline-agent-own-node', problem: 'is not there', manifest },
    ]);
    assert.equal(inspection.inForce.get('treeline-agent-own-node'), false);
    assert.equal(inspection.inForce.get('treeline-node-os-operator-only'), true);
    byName.set('treeline-agent-own-node', kept ?? {});
    await clock.advance(5000);
    assert.deepEqual(inspection.report(), { deviating: [] });
    assert.equal(changes(), 3);
    await end();
  });

  it('looks again soon when the API server was away at the start', async () => {
    const { inspection, clock, fail, end } = scene({ failure: new KubeError('Unreachable', 'connection refused') });
    await clock.advance(0);
    assert.equal(inspection.report()?.unreadable, 'connection refused');
    fail(undefined);
    await clock.advance(4000);
    assert.deepEqual(inspection.report(), { deviating: [] });
    await end();
  });

  it('keeps what it knew while the API server is away, and says so when it may not look', async () => {
    const { inspection, clock, fail, end } = scene();
    await clock.advance(0);
    fail(new KubeError('Unreachable', 'connection refused'));
    await clock.advance(60_000);
    assert.deepEqual(inspection.report(), { deviating: [] });
    fail(new KubeError('Forbidden', 'cannot get resource'));
    await clock.advance(60_000);
    assert.deepEqual(inspection.report(), { deviating: [], unreadable: 'cannot get resource' });
    assert.equal(inspection.inForce.size, 0);
    fail(undefined);
    await clock.advance(60_000);
    assert.deepEqual(inspection.report(), { deviating: [] });
    await end();
  });
});
