/** What makes a deployment of a new disk one that somebody can use: where /boot is, and who may log in. */
import { appendFile, mkdir, readFile, readlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Names /boot in the deployment's fstab(5), unless the image has named it. */
export async function addBootMount(deployment: string, bootUUID: string): Promise<void> {
  const path = join(deployment, 'etc', 'fstab');
  const text = await readIfThere(path);
  const named = text.split('\n').some((line) => !line.startsWith('#') && line.trim().split(/\s+/)[1] === '/boot');
  if (named) return;
  await appendFile(path, `${text === '' || text.endsWith('\n') ? '' : '\n'}UUID=${bootUUID} /boot ext4 defaults 0 2\n`);
}

/**
 * Has root's authorized_keys made at boot, where there is none: tmpfiles.d(5) gives the files the labels that the image's
 * policy wants, which nobody can know from outside.
 */
export async function addRootKeys(deployment: string, keys: string): Promise<void> {
  const home = await homeOfRoot(deployment);
  const folder = join(deployment, 'etc', 'tmpfiles.d');
  await mkdir(folder, { recursive: true });
  const content = Buffer.from(keys).toString('base64');
  await writeFile(
    join(folder, 'treeline-root-ssh.conf'),
    `d ${home} 0700 root root -\nd ${home}/.ssh 0700 root root -\nf~ ${home}/.ssh/authorized_keys 0600 root root - ${content}\n`,
  );
}

/** `/root` of an OSTree system is a link into /var. */
async function homeOfRoot(deployment: string): Promise<string> {
  try {
    return join('/', await readlink(join(deployment, 'root')));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EINVAL') return '/root';
    throw error;
  }
}

async function readIfThere(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}
