import assert from 'node:assert/strict';
import { gzipSync } from 'node:zlib';
import * as fc from 'fast-check';
import { type Component, MAX_FREQUENCY } from '../../../ostree/chunking/component.ts';
import { componentsOf } from '../../../ostree/packages/components.ts';
import {
  componentsFromContentMetadata,
  formatContentMetadata,
  parseContentMetadata,
} from '../../../ostree/packages/content-metadata.ts';
import { commitInMemory, type CommitInMemory, type MemoryTree } from '../../../testbed/commit-in-memory.ts';
import { encodeRpmHeader, encodeSqliteDatabase, type RpmSpec } from '../../../testbed/rpm-database.ts';

const DAY = 86_400;
const NEWEST = 1_700_000_000;

function rpms(...packages: readonly RpmSpec[]): MemoryTree {
  return { 'usr/share/rpm/rpmdb.sqlite': encodeSqliteDatabase(packages.map(encodeRpmHeader)) };
}

function stanza(name: string, more = ''): string {
  return `Package: ${name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1-1\n${more}`;
}

/** A database of dpkg with these packages and their files. */
function dpkg(packages: Readonly<Record<string, readonly string[]>>, more: MemoryTree = {}): MemoryTree {
  const names = Object.keys(packages);
  return {
    'var/lib/dpkg/status': names.map((name) => stanza(name)).join('\n'),
    ...Object.fromEntries(names.map((name) => [`var/lib/dpkg/info/${name}.list`, `${packages[name]?.join('\n')}\n`])),
    ...more,
  };
}

/** Names of the components by path. */
async function owners(tree: MemoryTree): Promise<Readonly<Record<string, string>>> {
  const source = commitInMemory(tree);
  const components = await componentsOf(source, source.commit);
  return ownersIn(source, components);
}

function ownersIn(source: CommitInMemory, components: readonly Component[]): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Array.from(source.files, ([path, object]) => [
      path,
      components.find(({ objects }) => objects.includes(object))?.name ?? 'nobody',
    ]),
  );
}

async function one(tree: MemoryTree, name: string): Promise<Component> {
  const source = commitInMemory(tree);
  const found = (await componentsOf(source, source.commit)).find((component) => component.name === name);
  assert.ok(found, `no component ${name}`);
  return found;
}

describe('the components of a commit:', () => {
  it('a file belongs to the package that lists it, also through links to directories and below usr/etc', async () => {
    const found = await owners({
      ...dpkg({ bash: ['/.', '/bin', '/bin/bash', '/etc', '/etc/bash.bashrc', '/lib64/x'] }),
      bin: { target: 'usr/bin' },
      lib64: { target: '/usr/lib64' },
      'usr/lib64': { target: '../usr/lib' },
      'usr/bin/bash': 'bash',
      'usr/lib/x': 'x',
      'usr/etc/bash.bashrc': 'rc',
      'usr/etc/motd': 'hello',
    });
    assert.equal(found['usr/bin/bash'], 'bash');
    assert.equal(found['usr/etc/bash.bashrc'], 'bash');
    assert.equal(found['usr/lib/x'], 'bash');
    assert.equal(found['usr/etc/motd'], 'configuration');
    assert.equal(found['bin'], 'bash');
  });

  it('links in a circle lead nowhere', async () => {
    const found = await owners({ ...dpkg({ a: ['/x/file'] }), x: { target: 'y' }, y: { target: 'x' } });
    assert.equal(found['x'], 'unpackaged');
  });

  it('of several packages that list a file the first by name owns it', async () => {
    const tree = { ...dpkg({ b: ['/usr/b', '/usr/both'], a: ['/usr/a', '/usr/both'] }), 'usr/both': 'both' };
    const found = await owners({ ...tree, 'usr/a': 'of a', 'usr/b': 'of b' });
    assert.equal(found['usr/both'], 'a');
  });

  it('an object that packages of several sources have is nobody’s, unless it is large; of one source, the first owns it', async () => {
    const large = 'x'.repeat(100_000);
    const tree = {
      ...dpkg({
        b: ['/usr/b', '/usr/large-b'],
        a: ['/usr/a', '/usr/large-a'],
        'c-data': ['/usr/c-data'],
        c: ['/usr/c', '/usr/mine'],
      }),
      'usr/a': 'small',
      'usr/b': 'small',
      'usr/large-a': large,
      'usr/large-b': large,
      'usr/c': 'of one source',
      'usr/c-data': 'of one source',
      'usr/mine': 'copied',
      'usr/copy': 'copied',
    };
    const sources = ['b', 'a', 'c', 'c'].map((source) => `Source: ${source}\n`);
    const status = ['b', 'a', 'c-data', 'c'].map((name, at) => stanza(name, sources[at])).join('\n');
    const found = await owners({ ...tree, 'var/lib/dpkg/status': status });
    assert.deepEqual([found['usr/a'], found['usr/b']], ['unpackaged', 'unpackaged']);
    assert.deepEqual([found['usr/large-a'], found['usr/large-b']], ['a', 'a']);
    assert.deepEqual([found['usr/c'], found['usr/c-data']], ['c', 'c']);
    assert.equal(found['usr/mine'], 'unpackaged');
  });

  it('a diverted file is where the diversion put it', async () => {
    const diversions = '/usr/bin/perf\n/usr/bin/perf.real\nwrapper\n';
    const found = await owners({
      ...dpkg({ perf: ['/usr/bin/perf'], wrapper: ['/usr/bin/perf'] }, { 'var/lib/dpkg/diversions': diversions }),
      'usr/bin/perf': 'a script',
      'usr/bin/perf.real': 'a program',
    });
    assert.equal(found['usr/bin/perf'], 'wrapper');
    assert.equal(found['usr/bin/perf.real'], 'perf');
  });

  it('what a database keeps about one package goes with that package; the rest of it with what nobody owns', async () => {
    const info = 'var/lib/dpkg/info';
    const found = await owners(
      dpkg(
        { dpkg: ['/var/lib/dpkg/status', `/${info}/a.list`], a: ['/usr/a'] },
        { [`${info}/a.postinst`]: '#!/bin/sh', [`${info}/a.triggers`]: 'activate-noawait ldconfig' },
      ),
    );
    assert.equal(found[`${info}/a.list`], 'a');
    assert.equal(found[`${info}/a.postinst`], 'a');
    assert.equal(found[`${info}/a.triggers`], 'unpackaged', 'that of a package today, of two tomorrow');
    assert.equal(found['var/lib/dpkg/status'], 'unpackaged');
    const ghost = await owners(rpms({ name: 'rpm', files: ['/usr/share/rpm/rpmdb.sqlite', '/usr/share/rpm'] }));
    assert.equal(ghost['usr/share/rpm/rpmdb.sqlite'], 'unpackaged');
    // rpm-ostree keeps a copy.
    const files = Array.from({ length: 20_000 }, (_, index) => `/usr/share/rpm-data/${index}`);
    const database = rpms({ name: 'rpm', files: ['/usr/lib/sysimage/rpm', '/usr/lib/sysimage', ...files] });
    const copy = 'usr/lib/sysimage/rpm-ostree-base-db/rpmdb.sqlite';
    const copied = await owners({
      ...database,
      [copy]: database['usr/share/rpm/rpmdb.sqlite'] ?? null,
      'usr/lib/sysimage/rpm': { target: '../../share/rpm' },
    });
    assert.equal(copied[copy], 'unpackaged');
  });

  it('a file generated in a directory that is all of one source is owned by that; in any other by nobody', async () => {
    const modules = 'usr/lib/modules/6.1.0-9-amd64';
    const found = await owners({
      ...dpkg({
        'linux-image-6.1.0-9-amd64': [`/${modules}/kernel/a.ko`, '/boot/vmlinuz-6.1.0-9-amd64'],
        icons: ['/usr/share/icons/a'],
        theme: ['/usr/share/icons/b'],
        udev: ['/usr/lib/udev/hwdb.d/20-a.hwdb'],
        dpkg: ['/etc/alternatives/README'],
      }),
      [`${modules}/kernel/a.ko`]: 'module',
      [`${modules}/modules.dep`]: 'index',
      [`${modules}/vmlinuz`]: 'kernel',
      [`${modules}/initramfs.img`]: 'initramfs',
      'usr/share/icons/a': 'a',
      'usr/share/icons/b': 'b',
      'usr/share/icons/icon-theme.cache': 'cache',
      'usr/share/local': 'local',
      'usr/lib/udev/hwdb.d/20-a.hwdb': 'hardware',
      'usr/lib/udev/hwdb.bin': 'generated',
      'usr/etc/alternatives/README': 'listed',
      'usr/etc/alternatives/editor': { target: '/usr/bin/vi' },
    });
    assert.equal(found[`${modules}/modules.dep`], 'linux-image');
    assert.equal(found[`${modules}/vmlinuz`], 'linux-image');
    assert.equal(found[`${modules}/initramfs.img`], 'initramfs');
    assert.equal(found['usr/share/icons/icon-theme.cache'], 'unpackaged');
    assert.equal(found['usr/share/local'], 'unpackaged');
    assert.equal(found['usr/etc/alternatives/editor'], 'configuration');
    assert.equal(found['usr/lib/udev/hwdb.bin'], 'udev');
  });

  it('a kernel that was moved out of /boot is still that of its package', async () => {
    const modules = 'usr/lib/modules/6.1.0-9-amd64';
    const found = await owners({
      ...dpkg({ 'linux-image-6.1.0-9-amd64': ['/boot/vmlinuz-6.1.0-9-amd64'], driver: [`/${modules}/driver.ko`] }),
      [`${modules}/driver.ko`]: 'module',
      [`${modules}/vmlinuz`]: 'kernel',
    });
    assert.equal(found[`${modules}/vmlinuz`], 'linux-image');
  });

  it('the initramfs is apart even if a package lists it, and so is a kernel that nobody lists', async () => {
    const tree = {
      ...rpms({ name: 'kernel-core', files: ['/usr/lib/modules/6.1/initramfs.img'] }),
      'usr/lib/modules/6.1/initramfs.img': 'initramfs',
      'usr/lib/modules/6.1/vmlinuz': 'kernel',
      'usr/bin/x': 'x',
    };
    const found = await owners({ ...tree, 'usr/lib/modules/6.2/vmlinuz': 'another' });
    assert.equal(found['usr/lib/modules/6.1/initramfs.img'], 'initramfs');
    assert.equal(found['usr/lib/modules/6.2/vmlinuz'], 'kernel');
    assert.equal((await one(tree, 'initramfs')).id, 'initramfs (kernel 6.1)');
    assert.equal((await one(tree, 'initramfs')).changeFrequency, MAX_FREQUENCY);
    assert.equal((await one(tree, 'unpackaged')).changeFrequency, MAX_FREQUENCY);
  });

  it('what nobody owns in /etc is apart from what else nobody owns, and changes as often', async () => {
    const tree = {
      ...dpkg({ a: ['/etc/a.conf'] }),
      'usr/etc/a.conf': 'a',
      'usr/etc/motd': 'hello',
      'usr/share/mine': 'x',
    };
    const found = await owners(tree);
    assert.equal(found['usr/etc/a.conf'], 'a');
    assert.equal(found['usr/etc/motd'], 'configuration');
    assert.equal(found['usr/share/mine'], 'unpackaged');
    assert.equal((await one(tree, 'configuration')).changeFrequency, MAX_FREQUENCY);
    const copied = { ...dpkg({ a: ['/usr/share/a/motd'] }), 'usr/share/a/motd': 'hello', 'usr/etc/motd': 'hello' };
    assert.equal((await owners(copied))['usr/etc/motd'], 'configuration', 'what a script has copied there');
    const commit = commitInMemory(tree);
    const asOthers = await componentsOf(commit, commit.commit, { configuration: false });
    assert.deepEqual(
      asOthers.map(({ name }) => name),
      ['a', 'unpackaged'],
    );
  });

  it('what configuration was copied from stays with it when the copy has been changed', async () => {
    const packaged = {
      ...dpkg({ a: ['/usr/share/a/motd', '/usr/share/a/other'], b: ['/usr/share/b/motd'] }),
      'usr/share/a/motd': 'hello',
      'usr/share/a/other': 'other',
      'usr/share/b/motd': 'hello',
    };
    const copied = { ...packaged, 'usr/etc/motd': 'hello', 'usr/etc/mine': 'mine' };
    const { templates } = await one(copied, 'configuration');
    assert.deepEqual(templates, ['usr/share/a/motd'], 'one of each object');
    const changed = commitInMemory({ ...copied, 'usr/etc/motd': 'changed' });
    const without = ownersIn(changed, await componentsOf(changed, changed.commit));
    assert.deepEqual([without['usr/share/a/motd'], without['usr/etc/motd']], ['unpackaged', 'configuration']);
    const components = await componentsOf(changed, changed.commit, { templates: new Set(templates) });
    const found = ownersIn(changed, components);
    for (const path of ['usr/share/a/motd', 'usr/share/b/motd', 'usr/etc/motd']) {
      assert.equal(found[path], 'configuration', path);
    }
    assert.equal(found['usr/share/a/other'], 'a');
    const next = components.find(({ name }) => name === 'configuration');
    assert.deepEqual(next?.templates, templates, 'so the image after that knows it, too');
    const asOthers = await componentsOf(changed, changed.commit, {
      configuration: false,
      templates: new Set(templates),
    });
    assert.deepEqual(
      asOthers.map(({ name, templates: none }) => [name, none]),
      [
        ['a', undefined],
        ['b', undefined],
        ['unpackaged', undefined],
      ],
    );
  });

  it('whatever is changed in /etc that nobody owns, no component changes but the configuration', async () => {
    const contents = fc.constantFrom('', 'x', 'y', 'z');
    const packages = fc.uniqueArray(
      fc.record({
        name: fc.constantFrom('a', 'b', 'c'),
        files: fc.dictionary(fc.constantFrom('f', 'g', 'h'), contents),
      }),
      { selector: ({ name }) => name },
    );
    const etc = fc.dictionary(fc.constantFrom('motd', 'profile', 'd/issue'), contents);
    const unowned = fc.dictionary(fc.constantFrom('local', 'd/local'), contents);
    const changes = fc.subarray(['motd', 'profile', 'd/issue', 'new']);
    await fc.assert(
      fc.asyncProperty(packages, etc, unowned, changes, async (installed, before, others, changed) => {
        const files = installed.flatMap(({ name, files: own }) =>
          Object.entries(own).map(([file, content]): [string, string] => [`usr/share/${name}/${file}`, content]),
        );
        const lists = installed.map(({ name, files: own }): [string, string[]] => [
          name,
          Object.keys(own).map((file) => `/usr/share/${name}/${file}`),
        ]);
        const below = (directory: string, tree: Readonly<Record<string, string>>) =>
          Object.fromEntries(Object.entries(tree).map(([path, content]) => [`${directory}/${path}`, content]));
        const treeWith = (configuration: Readonly<Record<string, string>>) =>
          commitInMemory({
            ...dpkg(Object.fromEntries(lists)),
            ...Object.fromEntries(files),
            ...below('usr', others),
            ...below('usr/etc', configuration),
          });
        const [earlier, later] = [
          treeWith(before),
          treeWith({ ...before, ...Object.fromEntries(changed.map((path) => [path, `changed ${path}`])) }),
        ];
        const first = await componentsOf(earlier, earlier.commit);
        const templates = new Set(first.flatMap((component) => component.templates ?? []));
        const second = await componentsOf(later, later.commit, { templates });
        const objects = (components: readonly Component[]) =>
          components
            .filter(({ name }) => name !== 'configuration')
            .map((component) => [component.name, component.objects]);
        assert.deepEqual(objects(second), objects(first));
      }),
      { numRuns: 300 },
    );
  });

  it('one that an attribute names is exclusive, unless it is a package or one that is always there', async () => {
    const marked = (name: string) => ({ content: `of ${name}`, xattrs: { 'user.component': name } });
    const tree = {
      ...dpkg({ a: ['/usr/a'] }),
      'usr/a': 'a',
      'usr/of-a': marked('a'),
      'usr/mine': marked('mine'),
      'usr/other': marked('unpackaged'),
    };
    const exclusive = await Promise.all(
      ['a', 'mine', 'unpackaged'].map(async (name) => (await one(tree, name)).isExclusive),
    );
    assert.deepEqual(exclusive, [undefined, true, undefined]);
  });

  it('the attribute user.component decides over everything else', async () => {
    const marked = { content: 'x', xattrs: { 'user.component': 'mine' } };
    const found = await owners({
      ...dpkg({ a: ['/usr/a'] }),
      'usr/a': marked,
      'usr/lib/modules/6/initramfs.img': marked,
    });
    assert.equal(found['usr/a'], 'mine');
    assert.equal(found['usr/lib/modules/6/initramfs.img'], 'mine');
    const impossible = commitInMemory({ a: { content: 'x', xattrs: { 'user.component': 'a,b' } } });
    await assert.rejects(componentsOf(impossible, impossible.commit), { code: 'InvalidComponent' });
  });

  it('packages of one name are one component: two architectures, or two kernels', async () => {
    const kernel = { name: 'kernel', sourceRpm: 'kernel-6.1-1.src.rpm' };
    const component = await one(
      {
        ...rpms(
          { ...kernel, version: '6.1', files: ['/usr/a'], buildTime: NEWEST - DAY, changeTimes: [NEWEST - DAY] },
          { ...kernel, version: '6.2', files: ['/usr/b'], buildTime: NEWEST, changeTimes: [NEWEST, NEWEST - DAY] },
        ),
        'usr/a': 'a',
        'usr/b': 'b',
      },
      'kernel',
    );
    assert.equal(component.id, 'kernel-6.1-1.noarch and kernel-6.2-1.noarch');
    assert.equal(component.version, undefined);
    assert.equal(component.objects.length, 2);
    assert.deepEqual([component.changeFrequency, component.changeTimeOffset], [2, 24]);
  });

  it('frequency counts the changes of the year before the newest build; offsets are hours from the oldest', async () => {
    const tree = {
      ...rpms(
        { name: 'old', files: ['/usr/old'], buildTime: NEWEST - 400 * DAY, changeTimes: [NEWEST - 400 * DAY] },
        {
          name: 'new',
          files: ['/usr/new'],
          buildTime: NEWEST,
          changeTimes: [NEWEST, NEWEST - 365 * DAY, NEWEST - 365 * DAY - 1],
        },
      ),
      'usr/old': 'old',
      'usr/new': 'new',
    };
    const [old, current] = [await one(tree, 'old'), await one(tree, 'new')];
    assert.deepEqual([old.changeTimeOffset, old.changeFrequency], [0, 0]);
    assert.deepEqual([current.changeTimeOffset, current.changeFrequency], [400 * 24, 2]);
  });

  it('dpkg packages have the frequency of their source, whichever of them carries the change log', async () => {
    const log = [0, 30, 400].map((days) => {
      const date = new Date((NEWEST - days * DAY) * 1000).toUTCString().replace('GMT', '+0000');
      return `a (1) unstable; urgency=low\n\n  * Change.\n\n -- A B <a@example.com>  ${date}\n`;
    });
    const tree = {
      ...dpkg({ liba: ['/usr/liba'], tool: ['/usr/tool'] }),
      'var/lib/dpkg/status': `${stanza('liba', 'Source: a (1)\n')}\n${stanza('tool', 'Source: a\n')}`,
      'usr/share/doc/liba/changelog.Debian.gz': gzipSync(log.join('\n')),
      'usr/liba': 'liba',
      'usr/tool': 'tool',
    };
    assert.equal((await one(tree, 'liba')).changeFrequency, 2);
    assert.equal((await one(tree, 'tool')).changeFrequency, 2);
    assert.equal((await one(tree, 'tool')).source, 'a');
  });

  it('every content object is in exactly one component, whatever the tree and the databases', async () => {
    const name = fc.constantFrom('usr', 'bin', 'etc', 'lib', 'modules', 'a', 'b', 'initramfs.img', 'vmlinuz', 'rpm');
    const path = fc.array(name, { minLength: 1, maxLength: 5 }).map((names) => names.join('/'));
    const file = fc.oneof(
      fc.constantFrom('', 'x', 'y').map((content): string => content),
      fc.oneof(path, fc.constantFrom('..', '/', '../a')).map((target) => ({ target })),
      fc.constantFrom('a', 'own').map((component) => ({ content: 'x', xattrs: { 'user.component': component } })),
    );
    const packages = fc.array(
      fc.record({
        name: fc.constantFrom('a', 'b', 'kernel', 'unpackaged', 'initramfs', 'lib-6.1'),
        version: fc.constantFrom('1', '2'),
        files: fc.array(
          path.map((one) => `/${one}`),
          { maxLength: 6 },
        ),
      }),
      { maxLength: 5 },
    );
    await fc.assert(
      fc.asyncProperty(fc.dictionary(path, file, { maxKeys: 12 }), packages, packages, async (tree, rpm, deb) => {
        const lists = Object.fromEntries(deb.map(({ name, files }) => [name, files]));
        const source = commitInMemory({ ...tree, ...rpms(...rpm), ...dpkg(lists) });
        const components = await componentsOf(source, source.commit);
        const objects = components.flatMap((component) => component.objects);
        assert.deepEqual([...objects].sort(), [...new Set(source.files.values())].sort());
        for (const key of ['id', 'name'] as const) {
          assert.equal(new Set(components.map((component) => component[key])).size, components.length);
        }
        for (const { objects: own, size } of components) {
          assert.equal(
            size,
            own.reduce((sum, object) => sum + source.openFile(object).size, 0),
          );
        }

        const text = formatContentMetadata(components, { labels: { b: '1', a: '2' } });
        const again = componentsFromContentMetadata(source, source.commit, parseContentMetadata(text, 'it'));
        assert.deepEqual(
          again.map(({ id, name, objects, size }) => ({ id, name, objects, size })),
          components.map(({ id, name, objects, size }) => ({ id, name, objects, size })),
        );
      }),
      { numRuns: 300 },
    );
  });
});

describe('content metadata', () => {
  const tree = commitInMemory({ a: 'a', b: 'bb' });
  const [a = '', b = ''] = [tree.files.get('a'), tree.files.get('b')];
  const good = { version: 1, created: '2026-01-01T00:00:00Z', layers: { x: 'X' }, mapping: { [a]: 'x', [b]: 'x' } };
  const parse = (document: unknown) => parseContentMetadata(JSON.stringify(document), 'meta.json');

  it('keeps the order of its layers, also where identifiers look like numbers', () => {
    const text = JSON.stringify({ ...good, layers: {} }).replace(
      '{}',
      '{"z":"Z, \\"10\\":","10":"ten","2":"two","__proto__":"p"}',
    );
    const { layers } = parseContentMetadata(text.replaceAll('"x"', '"z"'), 'meta.json');
    assert.deepEqual(
      [...layers],
      [
        ['z', 'Z, "10":'],
        ['10', 'ten'],
        ['2', 'two'],
        ['__proto__', 'p'],
      ],
    );
  });

  it('is refused by name if it does not follow its format', () => {
    const bad = [
      { ...good, version: 2 },
      { ...good, ordered: true },
      { ...good, created: 'yesterday' },
      { ...good, mapping: { [a]: 'unknown' } },
      { ...good, mapping: { short: 'x' } },
      { ...good, layers: [] },
      { ...good, layers: { x: 1 } },
      { ...good, more: 1 },
      [],
      null,
    ];
    for (const document of bad)
      assert.throws(() => parse(document), { name: 'PackageError', code: 'InvalidContentMetadata' });
    assert.throws(() => parseContentMetadata('{', 'meta.json'), /meta\.json cannot be used: it is not JSON/);
  });

  it('has to speak of every object of the commit, and of no other', () => {
    const use = (mapping: Readonly<Record<string, string>>) =>
      componentsFromContentMetadata(tree, tree.commit, parse({ ...good, mapping }));
    assert.deepEqual(
      use(good.mapping).map(({ id, name, size }) => ({ id, name, size })),
      [{ id: 'x', name: 'X', size: 3 }],
    );
    assert.throws(() => use({ [a]: 'x' }), /it does not say which layer b \(/);
    assert.throws(() => use({ ...good.mapping, ['0'.repeat(64)]: 'x' }), /which the commit does not have/);
  });
});
