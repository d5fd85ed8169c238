/** `treeline trusted-root` against a TUF repository in code; who else takes and refuses the same is in test/interop. */
import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { newCertificate } from '../../../testbed/certificates.ts';
import { StandInLog } from '../../../testbed/transparency-log.ts';
import { TufRepository } from '../../../testbed/tuf-repository.ts';
import { type Said, treeline } from './run.ts';

const TARGET = 'trusted_root.json';

describe('treeline trusted-root', () => {
  let folder: string;
  let repository: TufRepository;
  let text: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'treeline-trusted-root-'));
    repository = await TufRepository.start();
    text = new StandInLog().trustedRoot();
    repository.publish(TARGET, text);
    await writeFile(join(folder, 'root.json'), repository.root());
  });
  afterEach(async () => {
    await repository[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });

  const ask = async (more: readonly string[], environment: NodeJS.ProcessEnv = {}, mirror = repository.url) =>
    await treeline(['trusted-root', '--mirror', mirror, '--root', join(folder, 'root.json'), ...more], {
      HOME: folder,
      ...environment,
    });
  const file = async (name: string, content: string): Promise<string> => {
    await writeFile(join(folder, name), content);
    return join(folder, name);
  };
  const codeOf = ({ stderr }: Said) => (JSON.parse(stderr) as { error: { code: string } }).error.code;

  it('writes what the repository has, to standard output or to a file, to the byte', async () => {
    assert.deepEqual(await ask([]), { status: 0, stdout: `${text}\n`, stderr: '' });
    const json = JSON.parse((await ask(['--output', 'json'])).stdout) as object;
    assert.deepEqual(Object.keys(json), ['mirror', 'digest', 'trustedRoot']);
    const spaced = `${JSON.stringify(JSON.parse(text), undefined, 2)}\n\n`;
    repository.publish(TARGET, spaced);
    const out = join(folder, 'out.json');
    assert.match(
      (await ask(['--out', out])).stdout,
      /^Wrote .*out\.json: the trusted root of http:.*, sha256:\w{64}\n$/,
    );
    assert.equal(await readFile(out, 'utf8'), spaced);
  });

  it('leaves the file alone when it fails, and nothing beside it', async () => {
    const out = await file('out.json', 'old');
    repository.files.delete('timestamp.json');
    assert.equal((await ask(['--out', out])).status, 1);
    assert.equal(await readFile(out, 'utf8'), 'old');
    assert.deepEqual((await readdir(folder)).sort(), ['.local', 'out.json', 'root.json']);
  });

  it('says of what a file pins whether it is current, and which is not', async () => {
    const other = new StandInLog().trustedRoot();
    const spaced = JSON.stringify(JSON.parse(text), undefined, 2);
    const pin = (trustedRoot: string) => ({ transparencyLog: { trustedRoot } });
    const keyless = { issuer: 'https://issuer.example.com', subject: '*', trustedRoot: other };
    const policy = { authorities: [{ name: 'a', ...pin(spaced) }, { name: 'b', keyless }, { name: 'c' }] };
    const image = (verification: object) => JSON.stringify({ kind: 'OSImage', spec: { image: { verification } } });

    const current = await ask(['--check', await file('current.json', spaced)]);
    assert.deepEqual([current.status, current.stdout], [0, `${folder}/current.json: current\n`]);
    assert.equal((await ask(['--check', await file('other.json', other)])).status, 1);
    const yaml = await file('policy.yaml', JSON.stringify(policy));
    const found = await ask(['--check', yaml, '-o', 'json']);
    assert.deepEqual([found.status, found.stderr], [1, '']);
    const { pinned } = JSON.parse(found.stdout) as { pinned: object[] };
    assert.deepEqual(pinned, [
      { where: `${yaml}, authority a (transparencyLog)`, current: true },
      { where: `${yaml}, authority b (keyless)`, current: false },
    ]);
    assert.equal((await ask(['--check', yaml, '--authority', 'a'])).status, 0);
    assert.equal((await ask(['--check', yaml, '--authority', 'b'])).status, 1);
    const images = await file('images.yaml', `kind: Node\n---\n${image(policy)}\n---\n${image({ authorities: [] })}\n`);
    assert.match((await ask(['--check', images])).stdout, /authority a .*: current\n.*authority b .*: not what http:/);
  });

  it('asks nobody when it is used wrongly or the file cannot be compared', async () => {
    const check = async (content: string, ...more: string[]) => ['--check', await file('file', content), ...more];
    const mistakes: readonly (readonly [number, readonly string[], RegExp])[] = [
      [2, [...(await check('{}')), '--out', 'x'], /--check writes nothing/],
      [2, ['--authority', 'a'], /--authority is about a file to --check/],
      [1, ['--check', join(folder, 'none')], /none cannot be read/],
      [1, await check('{}'), /file pins no trusted root: give a trusted_root\.json/],
    ];
    for (const [status, argv, message] of mistakes) {
      const said = await ask(argv);
      assert.match(said.stderr, message);
      assert.equal(said.status, status);
    }
    for (const [content, message] of [
      ['a: [', /file is neither JSON nor YAML/],
      ['authorities: [{name: a, keyless: {trustedRoot: "{"}}]', /authority a in .*file is no JSON/],
    ] as const)
      assert.match((await ask(await check(content))).stderr, message);
    assert.match((await ask(await check(text, '--authority', 'b'))).stderr, /has no authority b with a trusted root/);
    assert.match((await ask([], {}, 'ftp://x')).stderr, /--mirror takes an https or http URL, not ftp:/);
    const alone = await treeline(['trusted-root', '--mirror', repository.url]);
    assert.match(alone.stderr, /What is http.* to be believed by\? Give its root\.json with --root/);
    assert.deepEqual(repository.asked, []);
  });

  it('says what to do when the mirror cannot be asked, or is none', async () => {
    const gone = await listening(createServer());
    await gone[Symbol.asyncDispose]();
    const nobody = await ask(['-o', 'json'], {}, gone.url);
    assert.equal(codeOf(nobody), 'MirrorUnreachable');
    assert.match(
      nobody.stderr,
      /127\.0\.0\.1:\d+ cannot be asked \(.*ECONNREFUSED.*\): check the URL, the proxy variables/,
    );
    repository.files.clear();
    assert.match((await ask([])).stderr, /cannot be asked \(it answers 404 for \/timestamp\.json\)/);
    repository.files.set('timestamp.json', Buffer.from('<html>'));
    assert.equal(codeOf(await ask(['-o', 'json'])), 'InvalidMetadata');
  });

  it('ends an answer that does not end, and takes none that a policy cannot pin', async () => {
    repository.files.set('timestamp.json', Buffer.alloc(9 * 1024 * 1024, ' '));
    assert.equal(codeOf(await ask(['-o', 'json'])), 'TooLarge');
    repository.publish(TARGET, text + ' '.repeat(9 * 1024 * 1024));
    assert.equal(codeOf(await ask(['-o', 'json'])), 'TooLarge');
    repository.publish(TARGET, '{"mediaType":"text/plain"}');
    assert.match((await ask([])).stderr, /The trusted root of http.* is of type "text\/plain"/);
    repository.publish('another.json', text);
    assert.equal(codeOf(await ask(['-o', 'json'])), 'TargetMissing');
  });

  it('remembers what it saw under the root.json that vouched for it, and what it refused changes nothing', async () => {
    const older = new Map(repository.files);
    repository.publish(TARGET, new StandInLog().trustedRoot());
    assert.equal((await ask([])).status, 0);
    for (const [path, bytes] of older) repository.files.set(path, bytes);
    for (let again = 0; again < 2; again++) assert.equal(codeOf(await ask(['-o', 'json'])), 'MetadataRolledBack');
    assert.equal((await ask(['--cache', join(folder, 'elsewhere')])).status, 0);

    await using another = await TufRepository.start();
    another.publish(TARGET, text);
    for (const [path, bytes] of another.files) repository.files.set(path, bytes);
    assert.equal(codeOf(await ask(['-o', 'json'])), 'MetadataNotSigned');
    await writeFile(join(folder, 'root.json'), another.root());
    assert.equal((await ask([])).stdout, `${text}\n`);
  });

  it('says which file is damaged', async () => {
    assert.equal((await ask([])).status, 0);
    const cache = join(folder, '.local/share/treeline/tuf');
    const [kept = ''] = await readdir(cache, { recursive: true }).then((all) =>
      all.filter((at) => at.endsWith('/root.json')),
    );
    await truncate(join(cache, kept), 100);
    assert.match((await ask([])).stderr, /treeline\/tuf\/sha256-\w{64} is damaged: delete it/);
    await file('root.json', '{"signatures":[],"signed":{}}');
    assert.match((await ask([])).stderr, /root\.json is no root\.json of a TUF repository, signed by its own keys/);
    assert.match(
      (await ask(['--cache', join(folder, 'root.json')])).stderr,
      /cannot be kept in .* Name another folder/,
    );
  });

  it('goes through the proxy of the environment, and leaves the fetch of the process as it was', async () => {
    const ordinary = globalThis.fetch;
    const targets: string[] = [];
    await using proxy = await listening(
      createServer((request, answer) => {
        const { host, pathname } = new URL(request.url ?? '', 'http://nowhere');
        targets.push(host);
        const found = repository.files.get(pathname.slice(1));
        answer.writeHead(found === undefined ? 404 : 200).end(found);
      }),
    );
    const said = await ask([], { HTTP_PROXY: proxy.url }, 'http://mirror.example');
    assert.deepEqual([said.status, said.stdout], [0, `${text}\n`], said.stderr);
    assert.ok(targets.length > 0 && targets.every((target) => target === 'mirror.example'));
    assert.equal(globalThis.fetch, ordinary);
    assert.match(
      (await ask([], { HTTP_PROXY: 'socks5://u:secret@h:1' })).stderr,
      /HTTP_PROXY is no proxy that can be used/,
    );
  });

  it('speaks TLS with a mirror whose authority it is given, and with no other', async () => {
    const authority = newCertificate({ subject: 'authority', authority: true });
    const { pem: cert, privateKey: key } = newCertificate({
      subject: 'mirror',
      issuer: authority,
      hosts: ['localhost'],
    });
    await using mirror = await listening(
      createTlsServer({ cert, key }, (request, answer) => {
        const found = repository.files.get((request.url ?? '').slice(1));
        answer.writeHead(found === undefined ? 404 : 200).end(found);
      }),
    );
    const url = mirror.url.replace('http://127.0.0.1', 'https://localhost');
    const stranger = await ask(['-o', 'json'], {}, url);
    assert.equal(codeOf(stranger), 'MirrorUnreachable');
    assert.match(stranger.stderr, /unable to verify the first certificate/);
    const pem = await file('ca.pem', authority.pem);
    assert.equal((await ask(['--certificate-authority', pem], {}, url)).stdout, `${text}\n`);
  });
});

async function listening(server: Server): Promise<AsyncDisposable & { readonly url: string }> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
