/** Which nodes are given credentials, and from which they are taken, by what the API says. */
import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import type { NodeOS } from '../../../api/index.ts';
import { dueCredentials, type SecretState } from '../../../operator/pull-credentials/due-credentials.ts';
import { imageNaming, nodeOS } from './credentials-cluster.ts';

describe('Due credentials', () => {
  it('are due exactly where Secret, version and key are not what is held: whatever the state, one round settles it', () => {
    const names = fc.constantFrom('s1', 's2', undefined);
    const versions = fc.constantFrom('1', '2');
    const keyNames = fc.constantFrom('k1', 'k2', undefined);
    const state: fc.Arbitrary<SecretState | undefined> = fc.oneof(
      versions.map((version) => ({ state: 'Read' as const, version, config: '' })),
      fc.constant({ state: 'Unusable' as const }),
      fc.constant(undefined),
    );
    const node = fc.record({
      imageName: fc.constantFrom('i1', 'i2', 'gone'),
      key: keyNames,
      held: fc.option(
        fc.record({
          secretName: fc.constantFrom('s1', 's2'),
          secretVersion: versions,
          key: fc.constantFrom('k1', 'k2'),
        }),
        { nil: undefined },
      ),
    });
    fc.assert(
      fc.property(names, names, state, state, fc.array(node, { maxLength: 6 }), (n1, n2, s1, s2, nodes) => {
        const images = [imageNaming(n1, 'i1'), imageNaming(n2, 'i2')];
        const known: (readonly [string, SecretState | undefined])[] = [
          ['s1', s1],
          ['s2', s2],
        ];
        const secrets = new Map<string, SecretState>(
          known.flatMap(([name, one]) => (one ? [[name, one] as const] : [])),
        );
        const objects = nodes.map(({ imageName, key, held }, index): NodeOS => {
          const base = nodeOS(`n${index}`, key, imageName);
          return held === undefined
            ? base
            : { ...base, spec: { ...base.spec, pullCredentials: { ...held, sealed: 'x' } } };
        });
        const settled = objects.map((object): NodeOS => {
          const due = dueCredentials(images, [object], secrets)[0];
          const { pullCredentials: _, ...spec } = object.spec;
          if (due === undefined) return object;
          if (due.kind === 'Remove') return { ...object, spec };
          const secret = secrets.get(due.secretName);
          assert.ok(secret?.state === 'Read');
          const { secretName, key } = due;
          const pullCredentials = { secretName, secretVersion: secret.version, key, sealed: 'y' };
          return { ...object, spec: { ...spec, pullCredentials } };
        });
        assert.deepEqual(dueCredentials(images, settled, secrets), []);
        for (const { spec, status } of settled) {
          const wanted = spec.imageName === 'i1' ? n1 : spec.imageName === 'i2' ? n2 : undefined;
          const secret = wanted === undefined ? undefined : secrets.get(wanted);
          const key = status?.host?.credentialsKey;
          const { pullCredentials } = spec;
          if (wanted === undefined || key === undefined) assert.equal(pullCredentials, undefined);
          else if (secret?.state === 'Read') {
            assert.equal(pullCredentials?.secretName, wanted);
            assert.equal(pullCredentials.key, key);
            assert.equal(pullCredentials.secretVersion, secret.version);
          } else if (secret?.state === 'Unusable') assert.equal(pullCredentials, undefined);
        }
      }),
    );
  });

  it('of a NodeOS that is being deleted are left alone', () => {
    const base = nodeOS('a', 'k1');
    const deleted = { ...base, metadata: { ...base.metadata, deletionTimestamp: '2026-11-23T12:00:00Z' } };
    const secrets = new Map([['s1', { state: 'Read', version: '1', config: '' } as const]]);
    assert.deepEqual(dueCredentials([imageNaming('s1')], [deleted], secrets), []);
  });
});
