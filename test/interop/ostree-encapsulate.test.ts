import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Repository } from '../../ostree/index.ts';
import { variant } from '../../ostree/gvariant/value.ts';
import { ensurePeer, sayOnStandardError } from '../../tools/setup/index.ts';
import { repositoryOf, requirePeerImports, skopeo, toLayout } from './encapsulate-fixture.ts';
import {
  EVERYTHING,
  MINI,
  MINI_COMMIT,
  MINI_METADATA,
  ostree,
  scratchDirectory,
  type FileSpec,
} from './ostree-fixture.ts';

describe('encapsulation', () => {
  it('makes of a known commit the image that the reference tools make of it, to the last byte', async () => {
    using source = await repositoryOf(MINI, { metadata: MINI_METADATA });
    assert.equal(source.commit, MINI_COMMIT);
    const image = await toLayout(source.repository, join(source.path, 'image'));
    assert.equal(image.diffId, 'sha256:a83fd83e006a162676048bf477f7df85a786a3da2cd14a495687bfc3da0e72cc');
    assert.equal(image.commit, MINI_COMMIT);
  });

  it('gives the same digest each time, and another one at another compression', async () => {
    using source = await repositoryOf(EVERYTHING);
    const first = await toLayout(source.repository, join(source.path, 'a'));
    const second = await toLayout(source.repository, join(source.path, 'b'));
    assert.deepEqual(second, first);
    const fast = await toLayout(source.repository, join(source.path, 'c'), { compression: 'fast' });
    assert.equal(fast.diffId, first.diffId);
    assert.notEqual(fast.manifestDigest, first.manifestDigest);
  });

  it('is accepted by skopeo, with labels, annotations, history and command from the commit', async () => {
    using source = await repositoryOf(MINI, {
      subject: 'Version 42.1',
      metadata: [
        ...MINI_METADATA,
        ['ostree.container-cmd', variant.strings(['/usr/bin/bash'])],
        ['build.id', variant.string('7')],
      ],
    });
    const layout = join(source.path, 'image');
    const image = await toLayout(source.repository, layout, {
      labels: { 'org.example.mine': 'yes' },
      copyMeta: ['build.id'],
      copyMetaOptional: ['not.there'],
    });
    const labels = {
      'build.id': '7',
      'containers.bootc': '1',
      'org.example.mine': 'yes',
      'org.opencontainers.image.version': '42.1',
      'ostree.bootable': 'true',
      'ostree.commit': source.commit,
      'ostree.final-diffid': image.diffId,
      'ostree.linux': '6.1.0-test',
    };
    const inspected = JSON.parse(skopeo('inspect', `oci:${layout}:v1`)) as Record<string, unknown>;
    assert.equal(inspected['Digest'], image.manifestDigest);
    assert.deepEqual(inspected['Labels'], labels);
    const manifest = JSON.parse(skopeo('inspect', '--raw', `oci:${layout}:v1`)) as Record<string, unknown>;
    assert.deepEqual(manifest['annotations'], labels);
    const config = JSON.parse(skopeo('inspect', '--config', '--raw', `oci:${layout}:v1`)) as Record<string, unknown>;
    assert.deepEqual(config['config'], { Cmd: ['/usr/bin/bash'], Labels: labels });
    assert.deepEqual(config['history'], [{ created: '1997-08-29T18:30:42Z', created_by: 'Version 42.1' }]);
    assert.equal(config['architecture'], 'amd64');
    skopeo('copy', `oci:${layout}:v1`, `oci:${source.path}/copy:v1`);
  });

  it('lets a container see the files under their real paths', async () => {
    using source = await repositoryOf(EVERYTHING);
    const layout = join(source.path, 'image');
    await toLayout(source.repository, layout);
    const { layers } = JSON.parse(skopeo('inspect', '--raw', `oci:${layout}:v1`)) as { layers: { digest: string }[] };
    const blob = join(layout, 'blobs/sha256', (layers[0]?.digest ?? '').slice('sha256:'.length));
    const listing = execFileSync('tar', ['--numeric-owner', '-tvzf', blob], { encoding: 'utf8' }).split('\n');
    const lines = (path: string): string[] => listing.filter((line) => line.includes(` ${path}`));
    assert.match(lines('usr/bin/su')[0] ?? '', /^hrwsr-xr-x 0\/0 .* link to sysroot\/ostree\/repo\/objects\/.*\.file$/);
    assert.match(lines('etc/a.conf')[0] ?? '', /^hrw-r--r--/);
    assert.equal(lines('usr/etc').length, 0);
    assert.match(lines('usr/lib/of-somebody')[0] ?? '', /^hrw------- 12345\/54321/);
    assert.match(lines('usr/bin/empty')[0] ?? '', /^-rw-r--r--/);
    assert.match(lines('usr/share/private')[0] ?? '', /^drwxr-s--- 7\/8/);
    assert.match(lines('var/tmp')[0] ?? '', /^drwxrwxrwt/);
    const attributes = execFileSync('tar', ['--xattrs', '--xattrs-include=*', '-tvvzf', blob], { encoding: 'utf8' });
    assert.match(attributes, /20 security\.capability/);
  });

  it('says which metadata is missing before it compresses anything, and leaves nothing behind', async () => {
    using source = await repositoryOf(MINI);
    const temporaryDirectory = join(source.path, 'image');
    await assert.rejects(toLayout(source.repository, temporaryDirectory, { copyMeta: ['build.id'] }), {
      code: 'InvalidData',
      message: /build\.id/,
    });
    await assert.rejects(toLayout(source.repository, temporaryDirectory, { rev: 'nothing' }), { code: 'RefNotFound' });
  });

  it('leaves no temporary files when it succeeds, fails or is aborted', async () => {
    using source = await repositoryOf(EVERYTHING);
    using scratch = scratchDirectory();
    const temporaryDirectory = scratch.path;
    const seen: number[] = [];
    const controller = new AbortController();
    await assert.rejects(
      toLayout(source.repository, join(source.path, 'image'), {
        temporaryDirectory,
        signal: controller.signal,
        onProgress: ({ objectsDone, objectsTotal }) => {
          seen.push(objectsDone);
          if (objectsDone * 2 > objectsTotal) controller.abort(new Error('enough'));
        },
      }),
    );
    assert.deepEqual(readdirSync(temporaryDirectory), []);
    await toLayout(source.repository, join(source.path, 'image'), { temporaryDirectory });
    assert.deepEqual(readdirSync(temporaryDirectory), []);
    assert.ok(seen.length > 3);
  });
});

describe('the peer', function () {
  this.timeout(600_000);
  let peer = '';
  before(async () => {
    peer = await ensurePeer(sayOnStandardError);
  });

  const inSysroot: FileSpec = { content: 'inside /sysroot\n' };
  const { var: _shared, ...withoutVar } = EVERYTHING;
  const trees: readonly [what: string, tree: Readonly<Record<string, FileSpec>>][] = [
    ['a system with one of everything', EVERYTHING],
    ['a system with labels', MINI],
    ['a system whose only empty directory is /sysroot', withoutVar],
    ['a system with files inside /sysroot', { ...withoutVar, 'sysroot/a/file': inSysroot }],
  ];
  for (const [what, tree] of trees) {
    it(`imports ${what} from our image with the same checksum, and ostree fsck is content`, async () => {
      using source = await repositoryOf(tree, { metadata: MINI_METADATA });
      const layout = join(source.path, 'image');
      await toLayout(source.repository, layout);
      requirePeerImports(peer, layout, join(source.path, 'imported'), source.commit);
    });
  }

  it('stores our image as a container image with a merge commit of the same tree', async () => {
    using source = await repositoryOf(MINI, { metadata: MINI_METADATA });
    const layout = join(source.path, 'image');
    await toLayout(source.repository, layout);
    const target = join(source.path, 'imported');
    ostree(target, 'init', '--mode=bare');
    execFileSync(peer, ['container', 'image', 'pull', target, `ostree-unverified-image:oci:${layout}:v1`]);
    const imported = Repository.open(target);
    const [merge = ''] = imported.listRefs('ostree/container/image').values();
    const { dirtree, parent } = imported.readCommit(merge);
    assert.equal(parent ?? source.commit, source.commit);
    assert.equal(dirtree, source.repository.readCommit(source.commit).dirtree);
    assert.match(ostree(target, 'fsck'), /no errors found/);
  });
});
