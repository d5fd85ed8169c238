/**
 * How docs/tasks/verify-images.md has a trusted root renewed: from a TUF repository, by `treeline trusted-root` or by cosign, which
 * take and refuse the same but for what only one remembers; and that what they take is what signatures are judged by.
 */
import assert from 'node:assert/strict';
import { mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { simpleSignature } from '../../testbed/signed-image.ts';
import { StandInLog } from '../../testbed/transparency-log.ts';
import { TufRepository } from '../../testbed/tuf-repository.ts';
import { say, type Said } from './cli-bench.ts';
import { SignatureBench } from './signature-fixture.ts';

const TARGET = 'trusted_root.json';

describe('a trusted root from a TUF repository', () => {
  let bench: SignatureBench;
  let repository: TufRepository;
  let home: string;
  before(async () => (bench = await SignatureBench.start()));
  after(async () => await bench[Symbol.asyncDispose]());
  beforeEach(async () => {
    repository = await TufRepository.start();
    home = await mkdtemp(join(bench.folder, 'home-'));
    bench.environment['HOME'] = home;
    await writeFile(join(home, 'root.json'), repository.root());
  });
  afterEach(async () => await repository[Symbol.asyncDispose]());

  /** The file that cosign has verified and keeps. */
  async function byCosign(): Promise<string> {
    await bench.cosign('initialize', '--mirror', repository.url, '--root', join(home, 'root.json'));
    const folder = repository.url.replace('http://', '').replace(':', '-');
    return await readFile(join(home, '.sigstore/root', folder, 'targets', TARGET), 'utf8');
  }

  async function byUs(): Promise<Said> {
    const flags = ['--mirror', repository.url, '--root', join(home, 'root.json'), '--out', join(home, TARGET)];
    return await say(['trusted-root', '-o', 'json', ...flags], { environment: bench.environment });
  }

  async function bothTake(text: string): Promise<void> {
    const said = await byUs();
    assert.equal(said.status, 0, said.stderr);
    assert.equal(await readFile(join(home, TARGET), 'utf8'), text);
    assert.equal(await byCosign(), text);
  }

  async function weRefuse(code: string): Promise<void> {
    const said = await byUs();
    assert.equal(said.status, 1, said.stdout);
    assert.equal((JSON.parse(said.stderr) as { error: { code: string } }).error.code, code, said.stderr);
  }

  /** cosign may end well all the same, by an older kind of client: what it keeps is what counts. */
  async function bothRefuse(text: string, code: string): Promise<void> {
    await weRefuse(code);
    assert.notEqual(await readFile(join(home, TARGET), 'utf8').catch(() => 'nothing'), text);
    assert.notEqual(await byCosign().catch(() => 'nothing'), text);
  }

  it('is what signatures are judged by from then on', async () => {
    const [key, image] = [await bench.key(), await bench.push()];
    const signature = simpleSignature(await readFile(key.plain, 'utf8'), {
      dockerReference: image.name,
      digest: image.digest,
    });
    const [before, since] = [new StandInLog(), new StandInLog()];
    await bench.attach(image, { ...signature, rekorBundle: since.promise(signature, key.publicPem) });
    const verified = async () => {
      const flags = [`--plain-http=${bench.registry.host}`, '--key', key.public];
      const root = ['--transparency-log', join(home, TARGET)];
      return say(['verify', ...flags, ...root, `${image.name}@${image.digest}`], { environment: bench.environment });
    };

    repository.publish(TARGET, before.trustedRoot());
    await bothTake(before.trustedRoot());
    const refused = await verified();
    assert.equal(refused.status, 1);
    assert.match(refused.stderr, /no transparency log that is believed has seen it/);

    repository.publish(TARGET, since.trustedRoot());
    await bothTake(since.trustedRoot());
    const renewed = await verified();
    assert.equal(renewed.status, 0, renewed.stderr);
  });

  it('is not taken when the mirror changes it', async () => {
    const path = repository.publish(TARGET, new StandInLog().trustedRoot());
    const changed = new StandInLog().trustedRoot();
    repository.files.set(path, Buffer.from(changed));
    await bothRefuse(changed, 'TargetChanged');
  });

  it('is not taken when it is older than what was seen before, which cosign forgets each time', async () => {
    const old = new StandInLog().trustedRoot();
    repository.publish(TARGET, old);
    const older = new Map(repository.files);
    const current = new StandInLog().trustedRoot();
    repository.publish(TARGET, current);
    await bothTake(current);
    for (const [path, bytes] of older) repository.files.set(path, bytes);
    await weRefuse('MetadataRolledBack');
    assert.equal(await readFile(join(home, TARGET), 'utf8'), current);
    assert.equal(await byCosign(), old);
  });

  it('is not taken when the mirror is frozen', async () => {
    const frozen = new StandInLog().trustedRoot();
    repository.publish(TARGET, frozen, new Date(Date.now() - 1000));
    await bothRefuse(frozen, 'MetadataExpired');
  });

  it('is not taken when one of the signatures that the root asks for is missing', async () => {
    repository.rotate('timestamp', 2);
    const text = new StandInLog().trustedRoot();
    repository.publish(TARGET, text);
    const timestamp = repository.files.get('timestamp.json') ?? Buffer.alloc(0);
    const { signatures, signed } = JSON.parse(timestamp.toString()) as { signatures: object[]; signed: object };
    repository.files.set('timestamp.json', Buffer.from(JSON.stringify({ signatures: signatures.slice(1), signed })));
    await bothRefuse(text, 'MetadataNotSigned');
    repository.files.set('timestamp.json', timestamp);
    await bothTake(text);
  });

  it('is taken from a repository whose root has changed hands twice, and not from one that took it over', async () => {
    repository.rotate('root');
    repository.rotate('root');
    repository.rotate('timestamp');
    const text = new StandInLog().trustedRoot();
    repository.publish(TARGET, text);
    await bothTake(text);
    const stolen = new StandInLog().trustedRoot();
    repository.rotate('root', 1, 'new');
    repository.publish(TARGET, stolen);
    await bothRefuse(stolen, 'MetadataNotSigned');
  });

  it('is not taken when a key signs that a later root has replaced', async () => {
    const text = new StandInLog().trustedRoot();
    repository.publish(TARGET, text);
    repository.rotate('timestamp');
    await bothRefuse(text, 'MetadataNotSigned');
  });
});
