/** skopeo as the judge of registries.conf: with the same files it must find the same image, or refuse where we refuse. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import {
  openImageDestination,
  openImageSource,
  parseImageReference,
  readHostConfiguration,
  RegistryError,
} from '../../registry/index.ts';
import { MountNamespace } from '../../testbed/mount-namespace.ts';
import { startRegistry, type TestRegistry } from '../../testbed/registry.ts';
import { AMD64, sampleImage, type SampleImage } from '../unit/registry/sample-image.ts';

const exec = promisify(execFile);

describe('registries.conf means to us what it means to skopeo', () => {
  let folder: string;
  let primary: TestRegistry;
  let mirror: TestRegistry;
  /** Where `/etc/containers` is what the test writes. */
  let machine: MountNamespace;
  const images: Record<string, SampleImage> = {};

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'treeline-registries-'));
    primary = await startRegistry({ storage: join(folder, 'primary') });
    mirror = await startRegistry({ storage: join(folder, 'mirror') });
    const containers = join(folder, 'etc/containers');
    await mkdir(containers, { recursive: true });
    machine = await MountNamespace.create('1m');
    await machine.run('mount', '--bind', containers, '/etc/containers');
    for (const [host, name] of [
      [primary.host, 'ns/os'],
      [primary.host, 'other/os'],
      [primary.host, 'ns/only'],
      [mirror.host, 'm/ns/os'],
      [mirror.host, 'direct/os'],
      [mirror.host, 'x/os'],
    ] as const) {
      const image = sampleImage({ labels: { version: `${host}/${name}` } });
      images[`${host === primary.host ? 'primary' : 'mirror'}/${name}`] = image;
      await using destination = openImageDestination(parseImageReference(`docker://${host}/${name}:v1`), {
        plainHttpHosts: [host],
      });
      for (const descriptor of [image.manifest.config, image.layer]) {
        await destination.putBlob(descriptor, async function* () {
          yield await Promise.resolve(image.blobs.get(descriptor.digest)!);
        });
      }
      await destination.putManifest(image.manifest);
    }
  });
  after(async () => {
    await Promise.all([primary?.stop(), mirror?.stop(), machine?.[Symbol.asyncDispose]()]);
    await rm(folder, { recursive: true, force: true });
  });

  /** @param file the main one, if not the machine's */
  async function ours(file: string | undefined, name: string): Promise<string> {
    const environment = { ...(file !== undefined && { CONTAINERS_REGISTRIES_CONF: file }), HOME: folder };
    try {
      const configuration = await readHostConfiguration({ root: folder, environment, uid: 0 });
      await using source = openImageSource(
        { transport: 'registry', name },
        { ...configuration, retry: { attempts: 1 } },
      );
      return (await source.resolve(AMD64)).digest;
    } catch (error) {
      assert.ok(error instanceof RegistryError, String(error));
      return error.code === 'Blocked' || error.code === 'InvalidConfiguration' ? error.code : 'not found';
    }
  }

  async function skopeos(file: string | undefined, name: string): Promise<string> {
    try {
      const main = file === undefined ? [] : ['--registries-conf', file];
      const inspect = machine.entering('skopeo', ...main, 'inspect', '--no-tags', `docker://${name}`);
      const { stdout } = await exec('nsenter', inspect, { env: { ...process.env, HOME: folder } });
      return (JSON.parse(stdout) as { Digest: string }).Digest;
    } catch (error) {
      const said = String((error as { stderr?: string }).stderr);
      if (/is blocked in/.test(said)) return 'Blocked';
      return /loading registries configuration|rewriting reference/.test(said) ? 'InvalidConfiguration' : 'not found';
    }
  }

  function withHosts(text: string): string {
    return text.replaceAll('PRIMARY', primary.host).replaceAll('MIRROR', mirror.host);
  }

  /** Both look up each name with this file; `expected` is where the image lies, or how it is refused. */
  async function judge(text: string, expected: Readonly<Record<string, string>>): Promise<void> {
    const file = join(folder, 'registries.conf');
    await writeFile(file, withHosts(text));
    await judgeNames(file, expected);
  }

  /** Both look up each name on a machine with these files below `/etc/containers`, and no others. */
  async function judgeMachine(
    files: Readonly<Record<string, string>>,
    expected: Readonly<Record<string, string>>,
    main?: string,
  ): Promise<void> {
    const containers = join(folder, 'etc/containers');
    for (const name of ['registries.conf', 'registries.conf.d']) {
      await rm(join(containers, name), { recursive: true, force: true });
    }
    for (const [name, text] of Object.entries(files)) {
      const path = join(containers, name);
      await mkdir(dirname(path), { recursive: true });
      if (text.startsWith('-> ')) await symlink(text.slice(3), path);
      else await writeFile(path, withHosts(text));
    }
    await judgeNames(main, expected);
  }

  async function judgeNames(file: string | undefined, expected: Readonly<Record<string, string>>): Promise<void> {
    for (const [name, place] of Object.entries(expected)) {
      const full = withHosts(name);
      const found = await ours(file, full);
      const wanted = images[place]?.digest ?? place;
      assert.equal(found, wanted, `we look up ${name}`);
      assert.equal(await skopeos(file, full), wanted, `skopeo looks up ${name}`);
    }
  }

  it('rewriting, mirrors in their order, and the primary when a mirror lacks the image', async () => {
    const text = `
      [[registry]]
      prefix = "os.example/team"
      location = "PRIMARY/ns"
      insecure = true
      [[registry.mirror]]
      location = "127.0.0.1:1/none"
      insecure = true
      [[registry.mirror]]
      location = "MIRROR/m/ns"
      insecure = true`;
    await judge(text, {
      'os.example/team/os:v1': 'mirror/m/ns/os',
      'os.example/team/only:v1': 'primary/ns/only',
      'os.example/team/absent:v1': 'not found',
    });
  });

  it('mirrors for digests and mirrors for tags', async () => {
    const { digest } = images['primary/ns/os']!;
    const text = (key: string): string => `
      [[registry]]
      prefix = "os.example"
      location = "PRIMARY"
      insecure = true
      ${key === 'mirror-by-digest-only' ? 'mirror-by-digest-only = true' : ''}
      [[registry.mirror]]
      location = "MIRROR/m"
      insecure = true
      ${key === 'mirror-by-digest-only' ? '' : `pull-from-mirror = "${key}"`}`;
    const onMirror = images['mirror/m/ns/os']!.digest;
    await judge(text('mirror-by-digest-only'), {
      'os.example/ns/os:v1': 'primary/ns/os',
      [`os.example/ns/os@${onMirror}`]: 'mirror/m/ns/os',
      [`os.example/ns/os@${digest}`]: 'primary/ns/os',
    });
    await judge(text('digest-only'), {
      'os.example/ns/os:v1': 'primary/ns/os',
      [`os.example/ns/os@${onMirror}`]: 'mirror/m/ns/os',
    });
    await judge(text('tag-only'), {
      'os.example/ns/os:v1': 'mirror/m/ns/os',
      [`os.example/ns/os@${digest}`]: 'primary/ns/os',
      [`os.example/ns/os@${onMirror}`]: 'not found',
    });
  });

  it('the longest prefix, wildcards, blocked registries, and blocked ones with a port', async () => {
    const text = `
      [[registry]]
      prefix = "*.example"
      location = "PRIMARY"
      insecure = true
      [[registry]]
      prefix = "a.example/ns"
      location = "MIRROR/m/ns"
      insecure = true
      [[registry]]
      prefix = "b.example/ns/os"
      location = "MIRROR/x/os"
      insecure = true
      [[registry]]
      location = "bad.example"
      blocked = true
      [[registry]]
      prefix = "bad.example/good"
      location = "MIRROR/direct"
      insecure = true`;
    await judge(text, {
      'a.example/ns/os:v1': 'mirror/m/ns/os',
      'a.example/other/os:v1': 'primary/other/os',
      'b.example/ns/os:v1': 'mirror/x/os',
      'c.d.example/ns/os:v1': 'primary/ns/os',
      'bad.example/ns/os:v1': 'Blocked',
      'bad.example:5000/ns/os:v1': 'Blocked',
      'bad.example/good/os:v1': 'mirror/direct/os',
    });
  });

  it('files that are refused', async () => {
    for (const text of [
      '[[registry]]\nlocation = "http://os.example"',
      '[[registry]]\ninsecure = true',
      '[[registry]]\nprefix = "*.example"\nlocation = "*.other"',
      '[[registry]]\nlocation = "os.example"\n[[registry]]\nlocation = "os.example"\nblocked = true',
      '[[registry]]\nlocation = "os.example"\nmirror-by-digest-only = true\n[[registry.mirror]]\nlocation = "MIRROR"\npull-from-mirror = "all"',
      'unqualified-search-registries = [',
    ]) {
      await judge(text, { 'os.example/ns/os:v1': 'InvalidConfiguration' });
    }
  });

  /** A table that has `os.example` at a place of its own. */
  const at = (location: string, more = ''): string =>
    `[[registry]]\nprefix = "os.example"\nlocation = "${location}"\ninsecure = true\n${more}\n`;
  const mirrored = (location: string): string => `[[registry.mirror]]\nlocation = "${location}"\ninsecure = true`;

  it('drop-ins: by name, the last table of a prefix instead of all before it, mirrors included', async () => {
    const main = at('PRIMARY/ns', mirrored('MIRROR/m/ns'));
    const [first, second] = [at('PRIMARY/other', mirrored('MIRROR/x')), at('PRIMARY/ns', mirrored('MIRROR/direct'))];
    await judgeMachine({ 'registries.conf': main }, { 'os.example/os:v1': 'mirror/m/ns/os' });
    await judgeMachine(
      { 'registries.conf': main, 'registries.conf.d/50.conf': at('PRIMARY/other') },
      { 'os.example/os:v1': 'primary/other/os' },
    );
    // Neither in the order of numbers nor in that of writing.
    await judgeMachine(
      { 'registries.conf': main, 'registries.conf.d/9.conf': first, 'registries.conf.d/10.conf': second },
      { 'os.example/os:v1': 'mirror/x/os', 'os.example/only:v1': 'not found' },
    );
    await judgeMachine(
      { 'registries.conf': main, 'registries.conf.d/B.conf': first, 'registries.conf.d/a.conf': second },
      { 'os.example/os:v1': 'mirror/direct/os', 'os.example/only:v1': 'primary/ns/only' },
    );
  });

  it('drop-ins without a main file, beside another prefix, and with a main file of another name', async () => {
    const dropIn = { 'registries.conf.d/a.conf': at('MIRROR/x') };
    await judgeMachine(dropIn, { 'os.example/os:v1': 'mirror/x/os' });
    const longer = `[[registry]]\nprefix = "os.example/team"\nlocation = "PRIMARY/ns"\ninsecure = true\n`;
    const both = { 'os.example/team/os:v1': 'primary/ns/os', 'os.example/os:v1': 'mirror/x/os' };
    await judgeMachine({ ...dropIn, 'registries.conf': longer }, both);
    const main = join(folder, 'main.conf');
    await writeFile(main, withHosts(longer));
    await judgeMachine({ ...dropIn, 'registries.conf': at('PRIMARY/other') }, both, main);
  });

  it('drop-ins that block, unblock, and take back that a registry may be insecure', async () => {
    const main = `${at('PRIMARY/ns')}[[registry]]\nlocation = "bad.example"\nblocked = true\n`;
    await judgeMachine(
      {
        'registries.conf': main,
        'registries.conf.d/1.conf': '[[registry]]\nlocation = "os.example"\nblocked = true',
        'registries.conf.d/2.conf': '[[registry]]\nprefix = "bad.example"\nlocation = "MIRROR/x"\ninsecure = true',
      },
      { 'os.example/os:v1': 'Blocked', 'bad.example/os:v1': 'mirror/x/os' },
    );
    await judgeMachine(
      { 'registries.conf': main, 'registries.conf.d/1.conf': at('PRIMARY/ns').replace('true', 'false') },
      { 'os.example/os:v1': 'not found', 'bad.example/os:v1': 'Blocked' },
    );
  });

  it('what in the directory of drop-ins is one, and what spoils them all', async () => {
    await judgeMachine(
      {
        'registries.conf': at('PRIMARY/ns'),
        'registries.conf.d/1.conf.bak': at('MIRROR/x'),
        'registries.conf.d/README': 'not TOML [',
        'registries.conf.d/folder.conf/2.conf': at('MIRROR/x'),
        'registries.conf.d/link.conf': '-> ../linked',
        linked: at('PRIMARY/other'),
      },
      { 'os.example/os:v1': 'primary/other/os' },
    );
    for (const broken of ['not TOML [', '[[registry]]\ninsecure = true']) {
      await judgeMachine(
        { 'registries.conf': at('PRIMARY/ns'), 'registries.conf.d/1.conf': broken },
        { 'os.example/os:v1': 'InvalidConfiguration', 'PRIMARY/ns/os:v1': 'InvalidConfiguration' },
      );
    }
  });
});
