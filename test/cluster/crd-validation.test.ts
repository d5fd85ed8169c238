/** What the API server refuses, and in which words: the first thing that a new user meets. */
import assert from 'node:assert/strict';
import type { ControlPlane } from '../../testbed/control-plane.ts';
import { sharedControlPlane } from '../../testbed/shared-control-plane.ts';
import { NODE_OSES, nodeOS, OS_IMAGES, osImage, tryCreate, type Json } from './crd-objects.ts';

type Row = readonly [promise: string, spec: Json, code: number, message: RegExp];

const DIGEST = `sha256:${'ab'.repeat(32)}`;
const OTHER_DIGEST = `sha256:${'cd'.repeat(32)}`;
const IMAGE = 'ostree-unverified-registry:registry.example.org/os/workers';

const reference = (text: string): Json => ({ image: { reference: text } });
const REFERENCE =
  /spec\.image\.reference: Invalid value: .*must be host\/name\[:tag\]\[@sha256:…\] with the host written out/s;
const UNAVAILABLE =
  /spec\.rollout\.maxUnavailable: Invalid value: .*must be a whole number of nodes, 0 or more, or a percentage from "0%" to "100%"/s;
const expressions = (...matchExpressions: Json[]): Json => ({ nodeSelector: { matchExpressions } });
const VALUES = /spec\.nodeSelector: Invalid value: .*In and NotIn need values; Exists and DoesNotExist take none/s;

const BAD_OS_IMAGES: readonly Row[] = [
  [
    'a kernel argument with a space',
    { kernelArguments: { append: ['console=tty0 quiet'] } },
    422,
    /spec\.kernelArguments\.append\[0\]: Invalid value: .*should match/s,
  ],
  [
    'a kernel argument that libostree sets',
    { kernelArguments: { append: ['ostree=/ostree/boot.0/os/x/0'] } },
    422,
    /spec\.kernelArguments\.append\[0\]: Invalid value: .*ostree= is set for each deployment by libostree itself/s,
  ],
  [
    'a kernel argument to be appended and deleted',
    { kernelArguments: { append: ['quiet'], delete: ['rw', 'quiet'] } },
    422,
    /spec\.kernelArguments: Invalid value: .*an argument cannot be in both append and delete/s,
  ],
  ['no nodeSelector', { nodeSelector: null }, 422, /spec\.nodeSelector: Required value/],
  ['no image', { image: null }, 422, /spec\.image: Required value/],
  ['no reference', { image: { reference: null } }, 422, /spec\.image\.reference: Required value/],
  ['an empty reference', reference(''), 422, /spec\.image\.reference: .*(at least 1 chars|must be host)/s],
  ['a reference without a host', reference('workers'), 422, REFERENCE],
  ['a reference in capitals', reference('registry.example.org/OS/Workers:1'), 422, REFERENCE],
  ['a reference with a short digest', reference('registry.example.org/os@sha256:abcd'), 422, REFERENCE],
  ['a reference with a space', reference('registry.example.org/os: 1'), 422, REFERENCE],
  ['a reference with a web scheme', reference('https://registry.example.org/os:1'), 422, REFERENCE],
  ['a transport that only one machine has', reference('ostree-unverified-image:oci:/var/os'), 422, REFERENCE],
  [
    'a signed reference of an image that only one machine has',
    reference('ostree-image-signed:oci:/var/os'),
    422,
    REFERENCE,
  ],
  [
    'a verification that is required of nobody',
    { image: { verification: { policy: 'Required' } } },
    422,
    /policy Required needs authorities: name who signs, with a public key/,
  ],
  [
    'an authority without a key',
    { image: { verification: { authorities: [{ name: 'release' }] } } },
    422,
    /an authority has either publicKeys or keyless/,
  ],
  [
    'a transparency log for certificates, whose root names its own',
    {
      image: {
        verification: {
          authorities: [
            {
              name: 'release',
              keyless: { issuer: 'i', subject: 's', trustedRoot: '{}' },
              transparencyLog: { trustedRoot: '{}' },
            },
          ],
        },
      },
    },
    422,
    /transparencyLog goes with publicKeys/,
  ],
  [
    'two authorities of one name',
    {
      image: {
        verification: {
          authorities: [
            { name: 'a', publicKeys: ['x'] },
            { name: 'a', publicKeys: ['y'] },
          ],
        },
      },
    },
    422,
    /authorities\[1\]: Duplicate value/,
  ],
  [
    'a denied key that is no fingerprint',
    { image: { verification: { deniedKeys: ['deadbeef'] } } },
    422,
    /deniedKeys\[0\]: Invalid value/,
  ],
  ['a reference that names a remote', reference('ostree-remote-registry:fedora:quay.example.org/os:1'), 422, REFERENCE],
  [
    'a reference that is too long',
    reference(`registry.example.org/${'a'.repeat(1024)}`),
    422,
    /Too long: may not be more than 1024 bytes/,
  ],
  [
    'an unknown updatePolicy',
    { image: { updatePolicy: 'Sometimes' } },
    422,
    /spec\.image\.updatePolicy: Unsupported value: "Sometimes": supported values: "Manual", "Automatic"/,
  ],
  [
    'polling too often',
    { image: { pollIntervalSeconds: 1 } },
    422,
    /pollIntervalSeconds: Invalid value: .*greater than or equal to 10/s,
  ],
  [
    'a poll interval with a unit',
    { image: { pollIntervalSeconds: '5m' } },
    422,
    /pollIntervalSeconds: Invalid value: "string".*integer/s,
  ],
  [
    'a pull Secret without a name',
    { image: { pullSecretRef: { name: null } } },
    422,
    /pullSecretRef\.name: Required value/,
  ],
  ['a mirror with a tag', { image: { mirrors: ['mirror.example.org/os:v1'] } }, 422, /without tag and digest/],
  ['a mirror without a name', { image: { mirrors: ['mirror.example.org:5000'] } }, 422, /must be host\[:port\]\/name/],
  ['a mirror twice', { image: { mirrors: ['m.example/os', 'm.example/os'] } }, 422, /each mirror may be named once/],
  [
    'too many mirrors',
    { image: { mirrors: Array.from({ length: 9 }, (_, at) => `m${at}.example/os`) } },
    422,
    /mirrors: Too many: 9: must have at most 8 items/,
  ],
  ['mirrors in an order', { image: { mirrors: ['b.example:5000/os', 'a.example/copies/os'] } }, 201, /^/],
  ['a negative maxUnavailable', { rollout: { maxUnavailable: -1 } }, 422, UNAVAILABLE],
  ['a maxUnavailable of 150%', { rollout: { maxUnavailable: '150%' } }, 422, UNAVAILABLE],
  ['a maxUnavailable of abc', { rollout: { maxUnavailable: 'abc' } }, 422, UNAVAILABLE],
  ['a maxUnavailable of "2" in quotes', { rollout: { maxUnavailable: '2' } }, 422, UNAVAILABLE],
  ['a maxUnavailable of 1.5', { rollout: { maxUnavailable: 1.5 } }, 422, /maxUnavailable: Invalid value/],
  ['a failure threshold of zero', { rollout: { failureThreshold: 0 } }, 422, /1 or more, or a percentage/],
  ['a failure threshold of 0%', { rollout: { failureThreshold: '0%' } }, 422, /1 or more, or a percentage/],
  ['a failure threshold of 5%', { rollout: { failureThreshold: '5%' } }, 201, /^/],
  ['an unknown answer to failures', { rollout: { onFailure: 'Panic' } }, 422, /Unsupported value: "Panic"/],
  [
    'a label to sort by without its key',
    { rollout: { order: { by: [{ criterion: 'Label' }] } } },
    422,
    /criterion Label needs a label, and the others take none/,
  ],
  [
    'an age to sort by with a label',
    { rollout: { order: { by: [{ criterion: 'OldestFirst', label: 'priority' }] } } },
    422,
    /criterion Label needs a label, and the others take none/,
  ],
  [
    'an order by a label',
    { rollout: { order: { by: [{ criterion: 'Label', label: 'example.org/priority' }] } } },
    201,
    /^/,
  ],
  [
    'a control plane in the middle',
    { rollout: { order: { controlPlane: 'Middle' } } },
    422,
    /Unsupported value: "Middle"/,
  ],
  [
    'a topology without a limit',
    { rollout: { topology: [{ key: 'zone' }] } },
    422,
    /set maxUnavailable, maxDomainsInProgress or both/,
  ],
  [
    'a topology of no node',
    { rollout: { topology: [{ key: 'zone', maxUnavailable: 0 }] } },
    422,
    /1 or more, or a percentage/,
  ],
  [
    'a topology by what is no label',
    { rollout: { topology: [{ key: 'a b', maxUnavailable: 1 }] } },
    422,
    /topology\[0\]\.key: Invalid value/,
  ],
  [
    'two budgets for one label',
    { rollout: { topology: [1, 2].map((maxUnavailable) => ({ key: 'zone', maxUnavailable })) } },
    422,
    /topology\[1\]: Duplicate value/,
  ],
  [
    'a budget by zone',
    { rollout: { topology: [{ key: 'topology.kubernetes.io/zone', maxUnavailable: '20%' }] } },
    201,
    /^/,
  ],
  [
    'two steps of one name',
    { rollout: { steps: [{ name: 'canary' }, { name: 'canary' }] } },
    422,
    /steps\[1\]: Duplicate value/,
  ],
  [
    'a step in capitals',
    { rollout: { steps: [{ name: 'Canary' }] } },
    422,
    /must be lower case letters, digits and hyphens/,
  ],
  [
    'a step that takes no node',
    { rollout: { steps: [{ name: 'canary', limit: 0 }] } },
    422,
    /limit: Invalid value: .*greater than or equal to 1/s,
  ],
  [
    'a step of a half',
    { rollout: { steps: [{ name: 'canary', limit: 'half' }] } },
    422,
    /limit: Invalid value: .*should match/s,
  ],
  [
    'a step whose selector cannot be',
    { rollout: { steps: [{ name: 'canary', nodeSelector: { matchExpressions: [{ key: 'a', operator: 'In' }] } }] } },
    422,
    /In and NotIn need values/,
  ],
  [
    'an approval of a tag',
    { rollout: { approvedStep: { name: 'canary', digest: 'v2' } } },
    422,
    /approvedStep\.digest/,
  ],
  [
    'an approval of no image',
    { rollout: { approvedStep: { name: 'canary' } } },
    422,
    /approvedStep\.digest: Required value/,
  ],
  [
    'canaries and an approval',
    {
      rollout: {
        steps: [{ name: 'canary', nodeSelector: { matchLabels: { canary: 'true' } }, limit: '5%', approval: 'Manual' }],
        approvedStep: { name: 'canary', digest: DIGEST },
      },
    },
    201,
    /^/,
  ],
  [
    'a growth by one',
    { rollout: { growth: { factor: 1 } } },
    422,
    /factor: Invalid value: .*greater than or equal to 2/s,
  ],
  ['a growth from nothing', { rollout: { growth: { initial: 0 } } }, 422, /1 or more, or a percentage/],
  ['a growth', { rollout: { growth: { initial: '1%', factor: 3, max: 50 } } }, 201, /^/],
  ['a digest of another kind to release', { rollout: { releaseQuarantine: 'v3' } }, 422, /releaseQuarantine/],
  [
    'two pauses of one party',
    { rollout: { pauseRequests: ['a', 'b'].map((reason) => ({ name: 'storage', reason })) } },
    422,
    /pauseRequests\[1\]: Duplicate value/,
  ],
  ['a pause without a reason', { rollout: { pauseRequests: [{ name: 'storage' }] } }, 422, /reason: Required value/],
  ['paused as a word', { rollout: { paused: 'yes' } }, 422, /spec\.rollout\.paused: Invalid value: "string"/],
  [
    'a reboot timeout of a second',
    { reboot: { timeoutSeconds: 1 } },
    422,
    /timeoutSeconds: Invalid value: .*greater than or equal to 60/s,
  ],
  [
    'a minReadySeconds below 0',
    { health: { minReadySeconds: -1 } },
    422,
    /minReadySeconds: Invalid value: .*greater than or equal to 0/s,
  ],
  ['In without values', expressions({ key: 'zone', operator: 'In' }), 422, VALUES],
  ['NotIn with an empty list', expressions({ key: 'zone', operator: 'NotIn', values: [] }), 422, VALUES],
  ['Exists with values', expressions({ key: 'zone', operator: 'Exists', values: ['a'] }), 422, VALUES],
  [
    'an unknown operator',
    expressions({ key: 'zone', operator: 'Like', values: ['a'] }),
    422,
    /operator: Unsupported value: "Like"/,
  ],
  [
    'a label key that no label can have',
    { nodeSelector: { matchLabels: { 'a b': 'c' } } },
    422,
    /a key is not a valid label key/,
  ],
  [
    'a label value that no label can have',
    { nodeSelector: { matchLabels: { a: 'b c' } } },
    422,
    /matchLabels\.a: Invalid value/,
  ],
  [
    'a label value that is too long',
    { nodeSelector: { matchLabels: { a: 'b'.repeat(64) } } },
    422,
    /may not be more than 63 bytes/,
  ],
  [
    'more expressions than a selector may have',
    expressions(...Array.from({ length: 17 }, () => ({ key: 'zone', operator: 'Exists' }))),
    422,
    /matchExpressions: Too many: 17: must have at most 16 items/,
  ],
  ['a misspelt field', { image: { refrence: 'x' } }, 400, /unknown field "spec\.image\.refrence"/],
  [
    'a field of a later version',
    { firmware: { reference: 'registry.example.org/firmware:1' } },
    400,
    /unknown field "spec\.firmware"/,
  ],
];

const order = (patch: Json): Json => ({ order: patch });

const CREDENTIALS = { secretName: 's', secretVersion: 'u/1', key: `${'A'.repeat(43)}=`, sealed: 'AAAA' };

const BAD_NODE_OSES: readonly Row[] = [
  ['no image name', { imageName: null }, 422, /spec\.imageName: Required value/],
  ['no node UID', { nodeUID: null }, 422, /spec\.nodeUID: Required value/],
  ['an order without an id', order({ id: null }), 422, /spec\.order\.id: Required value/],
  ['an unknown goal', order({ goal: 'Explode' }), 422, /goal: Unsupported value: "Explode"/],
  ['an image with a tag only', order({ image: `${IMAGE}:latest` }), 422, /image must end in @ and the digest/],
  [
    'an image of another digest than the order',
    order({ digest: DIGEST, bootApproval: { digest: DIGEST } }),
    422,
    /image must end in @ and the digest/,
  ],
  [
    'an image that only ends in the digest',
    order({ goal: 'Stage', image: `${IMAGE}${DIGEST}`, digest: DIGEST, bootApproval: null }),
    422,
    /image must end in @ and the digest/,
  ],
  ['a digest of another algorithm', order({ digest: 'md5:abcd' }), 422, /spec\.order\.digest: Invalid value/],
  [
    'goal Boot without an approval',
    order({ bootApproval: null }),
    422,
    /goal Boot needs a bootApproval for the same digest/,
  ],
  [
    'goal Boot with an approval for another digest',
    order({ bootApproval: { digest: OTHER_DIGEST } }),
    422,
    /goal Boot needs a bootApproval for the same digest/,
  ],
  [
    'an approval that ends before it begins',
    order({ bootApproval: { notAfter: '2026-11-23T11:00:00Z' } }),
    422,
    /notBefore must be earlier than notAfter/,
  ],
  [
    'an approval without an end',
    order({ bootApproval: { notAfter: null } }),
    422,
    /bootApproval\.notAfter: Required value/,
  ],
  [
    'an approval with a date for a time',
    order({ bootApproval: { notAfter: '2026-11-23' } }),
    422,
    /notAfter: Invalid value: .*date-time/s,
  ],
  ['a misspelt field', order({ gaol: 'Boot' }), 400, /unknown field "spec\.order\.gaol"/],
  [
    'credentials for what is no key',
    { pullCredentials: { ...CREDENTIALS, key: 'mine' } },
    422,
    /pullCredentials\.key: Invalid value/,
  ],
  [
    'credentials larger than a pull Secret may be',
    { pullCredentials: { ...CREDENTIALS, sealed: 'A'.repeat(43_760) } },
    422,
    /pullCredentials\.sealed: Too long/,
  ],
  [
    'plain credentials',
    { pullCredentials: { ...CREDENTIALS, plain: '{}' } },
    400,
    /unknown field "spec\.pullCredentials\.plain"/,
  ],
];

const GOOD_REFERENCES = [
  'registry.example.org/os',
  'registry.example.org/os:stable',
  'registry.example.org:5000/team/os_x/y-z.1:v1.2-3_4',
  'localhost:5000/os:1',
  '127.0.0.1:5000/os:1',
  `registry.example.org/os@${DIGEST}`,
  `registry.example.org/os:1@${DIGEST}`,
  'ostree-unverified-registry:registry.example.org/os:1',
  'ostree-unverified-image:docker://registry.example.org/os:1',
  'ostree-image-signed:docker://registry.example.org/os:1',
  `ostree-unverified-image:registry:registry.example.org/os@${DIGEST}`,
];

describe('the API server', () => {
  let controlPlane: ControlPlane;
  before(async () => {
    controlPlane = await sharedControlPlane();
  });

  async function refuses(path: string, object: Json, [, , code, message]: Row): Promise<void> {
    const answer = await tryCreate(controlPlane, path, object);
    assert.match(answer.message, message);
    assert.equal(answer.code, code, answer.message);
  }

  describe('refuses an OSImage with', () => {
    for (const row of BAD_OS_IMAGES) it(row[0], () => refuses(OS_IMAGES, osImage({ spec: row[1] }), row));
    it('no spec at all', () => refuses(OS_IMAGES, osImage({ spec: null }), ['', {}, 422, /spec: Required value/]));
  });

  describe('refuses a NodeOS with', () => {
    for (const row of BAD_NODE_OSES) it(row[0], () => refuses(NODE_OSES, nodeOS({ spec: row[1] }), row));
  });

  it('accepts every form of reference that this version can roll out', async () => {
    for (const text of GOOD_REFERENCES) {
      const answer = await tryCreate(controlPlane, OS_IMAGES, osImage({ spec: reference(text) }));
      assert.equal(answer.code, 201, `${text}: ${answer.message}`);
    }
  });

  it('accepts numbers, percentages and 0 for maxUnavailable', async () => {
    for (const maxUnavailable of [0, 1, 250, '0%', '1%', '33%', '100%']) {
      const answer = await tryCreate(controlPlane, OS_IMAGES, osImage({ spec: { rollout: { maxUnavailable } } }));
      assert.equal(answer.code, 201, `${maxUnavailable}: ${answer.message}`);
    }
  });

  it('accepts a selector for every node', async () => {
    const answer = await tryCreate(controlPlane, OS_IMAGES, osImage({ spec: { nodeSelector: { matchLabels: null } } }));
    assert.equal(answer.code, 201, answer.message);
  });
});
