/** When a fleet counts as gone back, and what is said where it does not go. */
import assert from 'node:assert/strict';
import type { OSImage, OSImageStatus } from '../../../api/index.ts';
import { quarantineOf, whyNoReturn, wentBackFrom } from '../../../operator/rollout/quarantine.ts';
import { digestOf, imageOf, release } from './fixtures.ts';

const [OLD, BAD, NEXT] = [release('v1').release, release('v2').release, release('v3').release];

const entry = (version: string, name = version) => ({
  digest: digestOf(name),
  reference: `registry.example/os:${version}`,
  version: name,
  reason: 'RolledBack',
  failures: 2,
  message: 'It failed.',
  time: '2026-11-23T11:00:00Z',
});

function image(status: Partial<OSImageStatus>, onFailure = 'RollBack'): OSImage {
  const { object } = imageOf({ version: 'v2', rollout: { onFailure } });
  return { ...object, status: { current: OLD, quarantinedDigests: [entry('v2')], ...status } };
}

describe('A fleet has gone back', () => {
  it('from what its spec names, while its target is what it ran before, and only then', () => {
    assert.equal(wentBackFrom(image({ target: OLD }))?.digest, BAD.digest);
    assert.equal(wentBackFrom(image({ target: BAD })), undefined, 'it is quarantined, and the target not changed yet');
    assert.equal(wentBackFrom(image({ target: NEXT })), undefined, 'another image was named meanwhile');
    assert.equal(wentBackFrom(image({ target: OLD, current: NEXT })), undefined);
    assert.equal(wentBackFrom(image({ target: OLD, quarantinedDigests: [entry('v3')] })), undefined);
  });

  it('not when its spec names the very release that it runs, whatever else that tag has meant', () => {
    assert.equal(wentBackFrom(image({ target: BAD, current: BAD })), undefined);
  });

  it('from the latest of the digests that one tag has meant', () => {
    const twice = [entry('v2'), entry('v2', 'v2 again')];
    assert.equal(wentBackFrom(image({ target: OLD, quarantinedDigests: twice }))?.version, 'v2 again');
    assert.equal(quarantineOf(image({ quarantinedDigests: twice }), digestOf('v2'))?.version, 'v2');
  });
});

describe('Why a fleet does not go back', () => {
  it('is not said of one that is to halt', () => {
    assert.equal(whyNoReturn(image({}, 'Halt'), BAD, [], 1), undefined);
    assert.match(whyNoReturn(image({}), BAD, [], 1) ?? '', /^Too few of them speak against the image/);
  });

  it('is that it runs what it would go back to, and nothing while it may go', () => {
    assert.match(whyNoReturn(image({}), OLD, [], 0) ?? '', /this is the release that it would go back to/);
    assert.equal(whyNoReturn(image({}), BAD, [], 0), undefined);
  });
});
