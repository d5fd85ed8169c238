import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { readHostConfiguration, RegistryError } from '../../../registry/index.ts';
import { findCertificates } from '../../../registry/certificates.ts';
import { askCredentialHelper } from '../../../registry/credential-helper.ts';
import { findCredential, parseDockerConfig } from '../../../registry/credentials.ts';
import { authFiles, readRegistriesConf } from '../../../registry/host-configuration.ts';

let root = '';
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'treeline-host-'));
});
afterEach(async () => {
  await rm(root, { recursive: true, force: true });
});

async function write(path: string, content: string, mode = 0o644): Promise<string> {
  const full = join(root, path);
  await mkdir(dirname(full), { recursive: true });
  await writeFile(full, content, { mode });
  return full;
}

const auth = (user: string): string =>
  JSON.stringify({ auths: { 'registry.example': { auth: Buffer.from(`${user}:secret`).toString('base64') } } });

async function failure(promise: Promise<unknown>): Promise<RegistryError> {
  const error: unknown = await promise.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof RegistryError, String(error));
  return error;
}

describe('credentials of this machine', () => {
  const system = () => ({ root, environment: {}, uid: 0 });
  const user = async (options = {}, machine = system()): Promise<string | undefined> => {
    const { fallbackCredentials } = await readHostConfiguration(machine, options);
    const found = findCredential(fallbackCredentials, 'registry.example', 'os');
    return found?.kind === 'basic' ? found.username : undefined;
  };

  it('are looked for in the order of the ostree-container tools', () => {
    assert.deepEqual(authFiles({ root: '/', environment: {}, uid: 0 }), [
      '/run/ostree/auth.json',
      '/etc/ostree/auth.json',
      '/usr/lib/ostree/auth.json',
    ]);
    const environment = { XDG_RUNTIME_DIR: '/run/user/1', HOME: '/users/a' };
    assert.deepEqual(authFiles({ root: '/', environment, uid: 1 }), [
      '/run/user/1/ostree/auth.json',
      '/users/a/.config/ostree/auth.json',
    ]);
  });

  it('come from the first file that exists, not from a mixture', async () => {
    assert.equal(await user(), undefined);
    await write('usr/lib/ostree/auth.json', auth('last'));
    assert.equal(await user(), 'last');
    await write('etc/ostree/auth.json', auth('middle'));
    assert.equal(await user(), 'middle');
    await write('run/ostree/auth.json', '{}');
    assert.equal(await user(), undefined, 'the first that exists is the only one, even if it says nothing');
  });

  it('come from a named file alone, which must then exist, or from nowhere', async () => {
    await write('run/ostree/auth.json', auth('first'));
    const mine = await write('mine.json', auth('mine'));
    assert.equal(await user({ authfile: mine }), 'mine');
    assert.equal(await user({ anonymous: true }), undefined);
    const error = await failure(user({ authfile: join(root, 'absent.json') }));
    assert.equal(error.code, 'InvalidConfiguration');
    assert.match(error.message, /absent\.json cannot be read \(ENOENT/);
  });

  it('in a broken file stop everything, with its name and without quoting it', async () => {
    const path = await write('etc/ostree/auth.json', '{"auths": {"a": {"auth": "c2VjcmV0"');
    const error = await failure(user());
    assert.equal(error.code, 'InvalidCredentials');
    assert.ok(error.message.startsWith(`The credentials in ${path} cannot be used: `));
    assert.doesNotMatch(`${error.message}${String(error.cause)}`, /c2VjcmV0/);
  });
});

describe('credential helpers', () => {
  const file = JSON.stringify({
    auths: { 'a.example': { auth: Buffer.from('ann:1').toString('base64') }, 'b.example': {} },
    credHelpers: { 'b.example': 'test', 'a.example': '' },
    credsStore: 'store',
  });

  it('are asked by what a file of this machine says; a Secret cannot name a program', () => {
    const trusted = parseDockerConfig(file, true);
    assert.deepEqual(findCredential(trusted, 'b.example', 'os'), { kind: 'helper', name: 'test' });
    assert.equal(findCredential(trusted, 'a.example', 'os')?.kind, 'basic');
    assert.deepEqual(findCredential(trusted, 'c.example', 'os'), { kind: 'helper', name: 'store' });
    const secret = parseDockerConfig(file);
    assert.equal(findCredential(secret, 'b.example', 'os'), undefined);
    assert.equal(findCredential(secret, 'c.example', 'os'), undefined);
    for (const name of ['../../evil', 'a/b', '-x', 'a b']) {
      assert.throws(
        () => parseDockerConfig(JSON.stringify({ credsStore: name }), true),
        /names the credential helper/,
        name,
      );
    }
  });

  const ask = async (body: string, host = 'b.example', deadlineMs = 5000) => {
    await write('bin/docker-credential-test', `#!/bin/sh\n${body}\n`, 0o755);
    return await askCredentialHelper('test', host, { PATH: `${root}/bin:/usr/bin:/bin` }, deadlineMs);
  };

  it('get the host on their input, and answer with a password, a token, or nothing', async () => {
    const echo = `read host; [ "$1" = get ] && echo '{"ServerURL":"x","Username":"'$host'","Secret":"s"}'`;
    assert.deepEqual(await ask(echo), { kind: 'basic', username: 'b.example', password: 's' });
    assert.deepEqual(await ask(echo, 'docker.io'), {
      kind: 'basic',
      username: 'https://index.docker.io/v1/',
      password: 's',
    });
    const token = `cat >/dev/null; echo '{"Username":"<token>","Secret":"refresh"}'`;
    assert.deepEqual(await ask(token), { kind: 'identity-token', token: 'refresh' });
    assert.equal(await ask(`echo 'credentials not found in native keychain'; exit 1`), undefined);
    assert.equal(await ask(`echo '{"Username":"","Secret":""}'`), undefined);
  });

  it('that fail, hang, chatter or are missing are named, and their secrets are not', async () => {
    for (const [body, message, limitMs = 60_000] of [
      [
        'echo the keychain is locked; exit 2',
        /docker-credential-test, which .* for b\.example, ends with status 2: the keychain is locked/,
      ],
      ['exec sleep 60', /does not answer within 0\.2 s/, 200],
      ['exec yes secret', /answers with more than 65536 bytes/],
      ['echo \'{"Secret":"secret"\'', /does not answer with a user name and a secret/],
    ] as const) {
      const error = await failure(ask(body, 'b.example', limitMs));
      assert.equal(error.code, 'InvalidCredentials');
      assert.match(error.message, message);
      assert.doesNotMatch(`${error.message}${String(error.cause)}`, /:"?secret/);
    }
    const missing = await failure(askCredentialHelper('absent', 'b.example', { PATH: root }));
    assert.match(missing.message, /docker-credential-absent, .* is not installed, or not in \$PATH: correct that/);
  });
});

describe('registries.conf of this machine', () => {
  const searched = async (environment: NodeJS.ProcessEnv = {}, uid = 0): Promise<readonly string[]> =>
    (await readRegistriesConf({ root, environment: { HOME: join(root, 'home'), ...environment }, uid })).searched;
  const searching = (host: string): string => `unqualified-search-registries = ["${host}"]`;

  it('is the main file with its drop-ins over it in the order of their names; other files do not count', async () => {
    assert.deepEqual(await searched(), []);
    await write('etc/containers/registries.conf', searching('main'));
    assert.deepEqual(await searched(), ['main']);
    await write('etc/containers/registries.conf.d/10-a.conf', searching('ten'));
    await write('etc/containers/registries.conf.d/05-b.conf', searching('five'));
    await write('etc/containers/registries.conf.d/99.conf.bak', 'nonsense');
    await mkdir(join(root, 'etc/containers/registries.conf.d/20.conf'));
    assert.deepEqual(await searched(), ['ten']);
  });

  it('has the user’s drop-ins after the system’s; the user’s own main file replaces all of the system’s', async () => {
    await write('etc/containers/registries.conf.d/10.conf', searching('system'));
    await write('home/.config/containers/registries.conf.d/05.conf', '[aliases]\n"os"="a.example/os"');
    assert.deepEqual(await searched({}, 1), ['system']);
    await write('home/.config/containers/registries.conf', searching('own'));
    assert.deepEqual(await searched({}, 1), ['own']);
    assert.deepEqual(await searched({}, 0), ['system'], 'root reads the system’s files only');
    await write('home/.config/containers/registries.conf.d/05.conf', searching('drop-in'));
    assert.deepEqual(await searched({}, 1), ['drop-in']);
  });

  it('is another main file when CONTAINERS_REGISTRIES_CONF names one, which must then exist', async () => {
    await write('etc/containers/registries.conf', searching('main'));
    const named = await write('other.conf', searching('named'));
    assert.deepEqual(await searched({ CONTAINERS_REGISTRIES_CONF: named }), ['named']);
    const error = await failure(searched({ CONTAINERS_REGISTRIES_CONF: join(root, 'absent') }));
    assert.equal(error.code, 'InvalidConfiguration');
  });

  it('that is broken is named by its path', async () => {
    const path = await write('etc/containers/registries.conf.d/10.conf', '[[registry]]\n');
    assert.ok((await failure(searched())).message.startsWith(path));
  });
});

describe('certificate directories', () => {
  it('are those of the host, with its port as the image names it; the first place that has one is the only one', async () => {
    const parents = [join(root, 'etc/containers/certs.d'), join(root, 'etc/docker/certs.d')];
    assert.deepEqual((await readHostConfiguration({ root, environment: {}, uid: 0 })).certificateDirectories, parents);
    assert.equal(await findCertificates(parents, ['a.example:5000']), undefined);
    await write('etc/docker/certs.d/a.example:5000/ca.crt', 'docker');
    assert.deepEqual((await findCertificates(parents, ['a.example:5000']))?.authorities, ['docker']);
    await write('etc/containers/certs.d/a.example:5000/client.cert', 'certificate');
    await write('etc/containers/certs.d/a.example:5000/client.key', 'key');
    await write('etc/containers/certs.d/a.example:5000/README', 'not a certificate');
    assert.deepEqual(await findCertificates(parents, ['a.example:5000']), {
      authorities: [],
      clients: [{ certificate: 'certificate', key: 'key' }],
    });
    assert.equal(await findCertificates(parents, ['a.example']), undefined);
    assert.equal(await findCertificates(parents, ['..', '../docker/certs.d/a.example:5000', '.']), undefined);
  });

  it('with half a pair, or that cannot be read, are refused by name', async () => {
    const parents = [join(root, 'certs.d')];
    await write('certs.d/a/client.cert', 'x');
    const lonely = await failure(findCertificates(parents, ['a']));
    assert.equal(lonely.code, 'InvalidConfiguration');
    assert.match(lonely.message, /certs\.d\/a has client\.cert without client\.key/);
    await write('certs.d/b/client.key', 'x');
    assert.match((await failure(findCertificates(parents, ['b']))).message, /has client\.key without client\.cert/);
    await mkdir(join(root, 'certs.d/c/dir.crt'), { recursive: true });
    assert.match((await failure(findCertificates(parents, ['c']))).message, /certs\.d\/c cannot be read \(EISDIR/);
  });
});
