/** What an administrator writes into files of the host, the agent and the command line follow without being told. */
import assert from 'node:assert/strict';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { run as runCli } from '../../cli/run.ts';
import { imagePuller } from '../../node-agent/image-store.ts';
import { Repository } from '../../ostree/index.ts';
import { type Credentials, parseDockerConfig, RegistryError } from '../../registry/index.ts';
import { startRegistry, type TestRegistry } from '../../testbed/registry.ts';
import { encapsulate, makeFolder, makeSystem, run } from './import-fixture.ts';

const auths = (host: string, user: string): string =>
  JSON.stringify({ auths: { [host]: { auth: Buffer.from(`${user}:secret of ${user}`).toString('base64') } } });

describe('registries as the host’s files say', () => {
  let folder: string;
  let mirror: TestRegistry;

  before(async () => {
    folder = await makeFolder();
    const layout = await encapsulate(await makeSystem(folder), folder, false);
    mirror = await startRegistry({ storage: join(folder, 'mirror'), users: { ann: 'secret of ann' } });
    const target = `docker://${mirror.host}/copies/os:v1`;
    await run(
      'skopeo',
      'copy',
      '--quiet',
      '--dest-tls-verify=false',
      '--dest-creds',
      'ann:secret of ann',
      `oci:${layout}:base`,
      target,
    );
  });
  after(async () => {
    await mirror.stop();
    await rm(folder, { recursive: true, force: true });
  });

  const conf = (): string =>
    `[[registry]]\nprefix = "os.invalid/team"\n[[registry.mirror]]\nlocation = "${mirror.host}/copies"\ninsecure = true\n`;

  async function sysroot(name: string, files: Readonly<Record<string, string>>): Promise<string> {
    const path = join(folder, name);
    await mkdir(join(path, 'ostree'), { recursive: true });
    Repository.create(join(path, 'ostree/repo'), 'bare');
    for (const [file, text] of Object.entries(files)) {
      await mkdir(dirname(join(path, file)), { recursive: true });
      await writeFile(join(path, file), text);
    }
    return path;
  }

  async function pull(
    path: string,
    secret?: Credentials,
    further: { readonly image?: string; readonly mirrors?: readonly string[] } = {},
  ): Promise<{ digest: string; warnings: string[]; served: string[] }> {
    const warnings: string[] = [];
    const served: string[] = [];
    const puller = imagePuller({
      sysroot: path,
      registry: { retry: { attempts: 1 } },
      environment: {},
      fetch: 'confined',
      unpack: 'confined',
      readPullCredentials: () =>
        secret === undefined ? Promise.reject(new Error('no secret')) : Promise.resolve(secret),
      prepare: () => Promise.resolve(),
      retainVar: () => Promise.resolve(true),
      onWarning: (message) => warnings.push(message),
      onServed: (place) => served.push(place),
    });
    const image = 'ostree-unverified-registry:os.invalid/team/os:v1';
    const order = {
      id: 'o',
      image,
      goal: 'Stage',
      ...further,
      ...(secret === undefined ? {} : { pullSecretRef: { name: 's' } }),
    } as const;
    const pulled = await puller(order as never, {
      accept: () => undefined,
      onProgress: () => undefined,
      limits: () => undefined,
      signal: new AbortController().signal,
    });
    await pulled.release();
    return { digest: pulled.digest, warnings, served };
  }

  it('the agent takes mirrors and credentials from its host', async () => {
    const path = await sysroot('host', {
      'etc/containers/registries.conf.d/10-mirror.conf': conf(),
      'etc/ostree/auth.json': auths(mirror.host, 'ann'),
    });
    const { digest, warnings } = await pull(path);
    assert.match(digest, /^sha256:/);
    assert.deepEqual(warnings, [`registry ${mirror.host} does not speak TLS: everything it says could be anybody's`]);
  });

  it('a pull Secret wins over the host’s file, which still stands in for what the Secret does not name', async () => {
    const path = await sysroot('secret', {
      'etc/containers/registries.conf': conf(),
      'etc/ostree/auth.json': auths(mirror.host, 'wrong'),
    });
    assert.match((await pull(path, parseDockerConfig(auths(mirror.host, 'ann')))).digest, /^sha256:/);
    const beside = await sysroot('beside', {
      'etc/containers/registries.conf': conf(),
      'run/ostree/auth.json': auths(mirror.host, 'ann'),
    });
    assert.match((await pull(beside, parseDockerConfig(auths('os.invalid', 'bob')))).digest, /^sha256:/);
    const error: unknown = await pull(
      await sysroot('wrong', {
        'etc/containers/registries.conf': conf(),
        'run/ostree/auth.json': auths(mirror.host, 'ann'),
      }),
      parseDockerConfig(auths(mirror.host, 'wrong')),
    ).catch((thrown: unknown) => thrown);
    assert.ok(error instanceof RegistryError);
    assert.match(
      error.message,
      /os\.invalid cannot be reached .*mirrors failed before: .*\/copies\/os:v1: Unauthorized/,
    );
  });

  it('the agent asks the mirrors of its order first, by digest and with the credentials of the pull Secret', async () => {
    const { digest } = await pull(
      await sysroot('known', {
        'etc/containers/registries.conf': conf(),
        'etc/ostree/auth.json': auths(mirror.host, 'ann'),
      }),
    );
    const elsewhere =
      '[[registry]]\nprefix = "os.invalid/team"\n[[registry.mirror]]\nlocation = "mirror.invalid/copies"\n';
    const path = await sysroot('ordered', {
      'etc/containers/registries.conf': `${elsewhere}[[registry]]\nlocation = "${mirror.host}"\ninsecure = true\n`,
    });
    const { served, warnings, ...pulled } = await pull(path, parseDockerConfig(auths(mirror.host, 'ann')), {
      image: `ostree-unverified-registry:os.invalid/team/os@${digest}`,
      mirrors: ['first.invalid/os', `${mirror.host}/copies/os`],
    });
    assert.equal(pulled.digest, digest);
    assert.deepEqual(served, [`${mirror.host}/copies/os@${digest}`]);
    assert.match(
      warnings[0] ?? '',
      /^the mirror first\.invalid\/os@sha256:\w+ cannot give os\.invalid\/team\/os@sha256/,
    );
    assert.ok(!warnings.join('\n').includes('mirror.invalid'), 'those of the host come after');
  });

  it('a blocked registry and a broken file stop the agent before it asks anybody', async () => {
    const blocked = '[[registry]]\nlocation = "os.invalid"\nblocked = true\n';
    for (const [name, text, code] of [
      ['blocked', blocked, 'Blocked'],
      ['broken', 'blocked = = true', 'InvalidConfiguration'],
    ] as const) {
      const path = await sysroot(name, { 'etc/containers/registries.conf': text });
      await assert.rejects(pull(path), { code });
    }
  });

  it('the command line follows the file that $CONTAINERS_REGISTRIES_CONF names, and its own flags', async () => {
    const file = join(folder, 'cli.conf');
    const authfile = join(folder, 'auth.json');
    await writeFile(
      file,
      `unqualified-search-registries = ["os.invalid"]\n${conf()}[[registry]]\nlocation = "bad.invalid"\nblocked = true\n`,
    );
    await writeFile(authfile, auths(mirror.host, 'ann'));
    const cli = async (...words: string[]): Promise<{ status: number; out: string; err: string }> => {
      let [out, err] = ['', ''];
      const status = await runCli(['image', 'pull', '--repo', join(folder, 'cli'), ...words], {
        stdout: (text) => (out += text),
        stderr: { write: (text: string) => (err += text), isTTY: false, columns: 80 },
        environment: { ...process.env, CONTAINERS_REGISTRIES_CONF: file },
        signal: new AbortController().signal,
      });
      return { status, out, err };
    };
    Repository.create(join(folder, 'cli'), 'bare');
    const pulled = await cli('--authfile', authfile, 'os.invalid/team/os:v1');
    assert.equal(pulled.status, 0, pulled.err);
    assert.match(pulled.err, /^Note: registry 127\.0\.0\.1:\d+ does not speak TLS: .*\.$/m);
    for (const [words, message] of [
      [['bad.invalid/os:v1'], /may not be used on this machine: .*cli\.conf blocks bad\.invalid/],
      [['team/os:v1'], /names no registry host; .*it could mean os\.invalid\/team\/os:v1: choose one/],
      [
        ['--authfile', authfile, '--auth-anonymous', 'os.invalid/team/os:v1'],
        /--authfile and --auth-anonymous contradict/,
      ],
      [
        ['--cert-dir', join(folder, 'absent'), 'os.invalid/team/os:v2'],
        /certificate directory .*absent does not exist/,
      ],
      [
        ['--auth-anonymous', `${mirror.host}/copies/os:v1`, '--insecure-skip-tls-verification'],
        /wants credentials to pull .*none are configured/,
      ],
    ] as const) {
      const { status, err } = await cli(...words);
      assert.notEqual(status, 0);
      assert.match(err, message);
    }
  });
});
