/**
 * One table of policies and images, judged three times: by us, by the library of podman and skopeo, and, where no sigstore
 * is in it, which Debian leaves out, by Debian's skopeo. All must agree.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { parseAnyImageReference } from '../../registry/index.ts';
import { evaluatePolicy } from '../../registry/signatures/containers/evaluate.ts';
import { readHostRules } from '../../registry/signatures/containers/host-rules.ts';
import { parseRegistriesD } from '../../registry/signatures/containers/registries-d.ts';
import { parseSigningKey, SignatureError, signImage } from '../../registry/signatures/index.ts';
import { formatSimpleSigning } from '../../registry/signatures/simple-signing.ts';
import { parseRegistryName } from '../../registry/registry-name.ts';
import { GpgHome } from '../../testbed/gpg-home.ts';
import { type KeyFiles, SignatureBench } from './signature-fixture.ts';

const run = promisify(execFile);

interface Image {
  readonly name: string;
  readonly digest: string;
}

describe('a policy of the host', () => {
  let bench: SignatureBench;
  let key: KeyFiles;
  let other: KeyFiles;
  let gpg: GpgHome;
  let stranger: GpgHome;
  let lookaside: string;
  const images = new Map<string, Image>();

  before(async () => {
    bench = await SignatureBench.start();
    [key, other] = [await bench.key(), await bench.key()];
    gpg = await GpgHome.make(join(bench.folder, 'gpg'));
    stranger = await GpgHome.make(join(bench.folder, 'stranger'));
    lookaside = join(bench.folder, 'lookaside');
    for (const name of [
      'unsigned',
      'sigstore',
      'renamed',
      'foreign',
      'gpg',
      'gpg-tag',
      'gpg-name',
      'gpg-digest',
      'gpg-foreign',
      'gpg-second',
      'gpg-broken',
    ])
      images.set(name, await bench.push(`team/${name}`));
    await sigstore('sigstore', key);
    await sigstore('renamed', key, `${bench.registry.host}/team/other`);
    await sigstore('foreign', other);
    await sign('gpg', gpg, {});
    await sign('gpg-tag', gpg, { tag: '2' });
    await sign('gpg-name', gpg, { name: `${bench.registry.host}/team/other` });
    await sign('gpg-digest', gpg, { digest: `sha256:${'0'.repeat(64)}` });
    await sign('gpg-foreign', stranger, {});
    await sign('gpg-second', stranger, {}, 1);
    await sign('gpg-second', gpg, {}, 2);
    await sign('gpg-broken', gpg, {});
    const broken = `${lookaside}/team/gpg-broken@sha256=${imageOf('gpg-broken').digest.slice(7)}/signature-1`;
    const bytes = await readFile(broken);
    bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
    await writeFile(broken, bytes);
  });
  after(async () => {
    await gpg[Symbol.asyncDispose]();
    await stranger[Symbol.asyncDispose]();
    await bench[Symbol.asyncDispose]();
  });

  function imageOf(name: string): Image {
    const image = images.get(name);
    assert.ok(image !== undefined);
    return image;
  }

  async function sigstore(name: string, { plain }: KeyFiles, signAs?: string): Promise<void> {
    const image = parseRegistryName(`${imageOf(name).name}:1`);
    const signing = parseSigningKey(await readFile(plain, 'utf8'), undefined, plain);
    await signImage({ image, key: signing, registry: bench.options, ...(signAs === undefined ? {} : { signAs }) });
  }

  async function sign(
    to: string,
    by: GpgHome,
    change: { name?: string; tag?: string; digest?: string },
    number = 1,
  ): Promise<void> {
    const image = imageOf(to);
    const folder = `${lookaside}/team/${to}@sha256=${image.digest.slice(7)}`;
    await mkdir(folder, { recursive: true });
    const dockerReference = `${change.name ?? image.name}:${change.tag ?? '1'}`;
    const payload = JSON.parse(
      formatSimpleSigning({ dockerReference, digest: change.digest ?? image.digest }).toString(),
    ) as {
      critical: { type: string };
      optional: object;
    };
    payload.critical.type = 'atomic container signature';
    payload.optional = { creator: 'test', timestamp: 1 };
    const file = join(folder, 'payload');
    await writeFile(file, JSON.stringify(payload));
    await by.run('--output', join(folder, `signature-${number}`), '--sign', file);
  }

  /** What each judge says: whether the image may be used. */
  async function verdicts(name: string, policy: object, tag = ':1'): Promise<Record<string, boolean>> {
    const root = join(bench.folder, `host-${name}-${Math.random()}`);
    const containers = join(root, 'etc/containers');
    const registriesD = join(containers, 'registries.d');
    await mkdir(registriesD, { recursive: true });
    const policyFile = join(containers, 'policy.json');
    await writeFile(policyFile, JSON.stringify(policy));
    const yaml = (base: string) => `default-docker:\n  use-sigstore-attachments: true\n  lookaside: file://${base}\n`;
    await writeFile(join(registriesD, 'default.yaml'), yaml(lookaside));
    const image = `${imageOf(name).name}${tag}`;
    const said: Record<string, boolean> = {
      us: await accepts(image, imageOf(name).digest, policyFile, registriesD),
      library: await succeeds(bench.policyJudge, policyFile, registriesD, `//${image}`),
    };
    if (!JSON.stringify(policy).includes('sigstoreSigned')) {
      const copied = `dir:${join(root, 'copied')}`;
      const flags = ['--policy', policyFile, '--registries.d', registriesD];
      said['skopeo'] = await succeeds(
        'skopeo',
        ...flags,
        'copy',
        '-q',
        '--src-tls-verify=false',
        `docker://${image}`,
        copied,
      );
    }
    return said;
  }

  /** Ours; the lookaside path starts at the machine's root, as for the other judges. */
  async function accepts(image: string, digest: string, policyFile: string, registriesD: string): Promise<boolean> {
    try {
      const machine = { root: '/', environment: { CONTAINERS_POLICY_JSON: policyFile }, uid: 0 };
      const storage = parseRegistriesD([
        { path: 'default.yaml', text: await readFile(join(registriesD, 'default.yaml'), 'utf8') },
      ]);
      const rules = { ...(await readHostRules(machine)), storage };
      const subject = { image: parseAnyImageReference(image).image, digest, registry: bench.options, now: new Date() };
      await evaluatePolicy(rules, subject);
      return true;
    } catch (error) {
      assert.ok(error instanceof SignatureError, String(error));
      return false;
    }
  }

  async function succeeds(program: string, ...args: readonly string[]): Promise<boolean> {
    return run(program, args, { env: bench.environment }).then(
      () => true,
      () => false,
    );
  }

  const only = (...requirements: readonly object[]) => ({ default: requirements });
  const byKey = (keyPath: string, signedIdentity: object = { type: 'matchRepository' }) => ({
    type: 'sigstoreSigned',
    keyPath,
    signedIdentity,
  });
  const byGpg = (more: object = {}) => ({ type: 'signedBy', keyType: 'GPGKeys', keyPath: gpg.keyFile, ...more });
  const identity = (type: string, more: object = {}) => ({ signedIdentity: { type, ...more } });
  const anything = { type: 'insecureAcceptAnything' };
  const host = () => bench.registry.host;

  const rows: readonly (readonly [
    why: string,
    image: string,
    policy: () => object,
    accepted: boolean,
    tag?: string,
  ])[] = [
    ['rejects by default', 'sigstore', () => only({ type: 'reject' }), false],
    ['accepts anything', 'unsigned', () => only(anything), true],
    ['wants all of its requirements', 'sigstore', () => only(anything, { type: 'reject' }), false],
    [
      'takes the scope of the repository before its host',
      'unsigned',
      () => ({
        default: [{ type: 'reject' }],
        transports: { docker: { [host()]: [{ type: 'reject' }], [`${host()}/team/unsigned`]: [anything] } },
      }),
      true,
    ],
    [
      'takes a namespace',
      'unsigned',
      () => ({ default: [anything], transports: { docker: { [`${host()}/team`]: [{ type: 'reject' }] } } }),
      false,
    ],
    [
      'does not take the scope of a sibling',
      'unsigned',
      () => ({ default: [{ type: 'reject' }], transports: { docker: { [`${host()}/team/unsign`]: [anything] } } }),
      false,
    ],
    [
      'takes a tag',
      'unsigned',
      () => ({ default: [{ type: 'reject' }], transports: { docker: { [`${host()}/team/unsigned:1`]: [anything] } } }),
      true,
    ],
    [
      'does not take the scope of another transport',
      'unsigned',
      () => ({ default: [{ type: 'reject' }], transports: { oci: { '': [anything] } } }),
      false,
    ],
    ['wants a sigstore signature', 'unsigned', () => only(byKey(key.public)), false],
    ['finds the sigstore signature', 'sigstore', () => only(byKey(key.public)), true],
    [
      'finds it of a key in the policy itself',
      'sigstore',
      () =>
        only({
          type: 'sigstoreSigned',
          keyData: Buffer.from(key.publicPem).toString('base64'),
          ...identity('matchRepository'),
        }),
      true,
    ],
    [
      'finds it of one of two keys',
      'sigstore',
      () => only({ type: 'sigstoreSigned', keyPaths: [other.public, key.public], ...identity('matchRepository') }),
      true,
    ],
    ['does not take another key', 'foreign', () => only(byKey(key.public)), false],
    ['wants both keys', 'sigstore', () => only(byKey(key.public), byKey(other.public)), false],
    [
      'does not take a name without a tag for an exact one',
      'sigstore',
      () => only(byKey(key.public, { type: 'matchExact' })),
      false,
    ],
    [
      'takes its default of an identity',
      'sigstore',
      () => only({ type: 'sigstoreSigned', keyPath: key.public }),
      false,
    ],
    ['does not take another name', 'renamed', () => only(byKey(key.public)), false],
    [
      'takes the name that it was told',
      'renamed',
      () => only(byKey(key.public, { type: 'exactRepository', dockerRepository: `${host()}/team/other` })),
      true,
    ],
    ['wants a GPG signature', 'unsigned', () => only(byGpg()), false],
    ['finds the GPG signature', 'gpg', () => only(byGpg()), true],
    ['finds it by digest, whatever its tag', 'gpg-tag', () => only(byGpg()), true, '@'],
    ['does not take another tag', 'gpg-tag', () => only(byGpg()), false],
    ['takes another tag of the repository', 'gpg-tag', () => only(byGpg(identity('matchRepository'))), true],
    ['does not take another GPG name', 'gpg-name', () => only(byGpg(identity('matchRepository'))), false],
    [
      'takes the reference that it was told',
      'gpg-name',
      () => only(byGpg(identity('exactReference', { dockerReference: `${bench.registry.host}/team/other:1` }))),
      true,
    ],
    [
      'takes a remapped name',
      'gpg-name',
      () =>
        only(
          byGpg(
            identity('remapIdentity', {
              prefix: `${bench.registry.host}/team/gpg-name`,
              signedPrefix: `${bench.registry.host}/team/other`,
            }),
          ),
        ),
      true,
    ],
    ['does not take a replayed signature', 'gpg-digest', () => only(byGpg()), false],
    ['does not take the signature of a stranger', 'gpg-foreign', () => only(byGpg()), false],
    ['looks at the second signature too', 'gpg-second', () => only(byGpg()), true],
    ['does not take a damaged signature', 'gpg-broken', () => only(byGpg()), false],
    [
      'takes a keyring of two keys',
      'gpg-foreign',
      () => only({ type: 'signedBy', keyType: 'GPGKeys', keyPaths: [gpg.keyFile, stranger.keyFile] }),
      true,
    ],
    ['wants GPG and sigstore', 'gpg', () => only(byGpg(), byKey(key.public)), false],
    ['is invalid with an unknown member', 'unsigned', () => ({ default: [anything], extra: 1 }), false],
    ['is invalid without a default', 'unsigned', () => ({ transports: {} }), false],
  ];

  for (const [why, image, policy, accepted, tag] of rows) {
    it(`${why}: ${accepted ? 'accepts' : 'refuses'} the image ${image}, as podman's library and skopeo do`, async () => {
      const written = policy();
      const said = await verdicts(image, written, tag === '@' ? `@${imageOf(image).digest}` : (tag ?? ':1'));
      assert.deepEqual(said, Object.fromEntries(Object.keys(said).map((judge) => [judge, accepted])));
    });
  }
});
