/** Whether what the agent leaves in `/etc` is there in the system after this one: libostree merges it, unless it is transient. */
import { join } from 'node:path';
import { parseRootSettings, PREPARE_ROOT_FILES } from '../../ostree/index.ts';
import { AgentError } from '../errors.ts';
import { readIfPresent } from './atomic-file.ts';
import { deploymentPath, type ListedDeployment } from './deployments.ts';

/** Throws AgentError `HostUnsupported` when the `/etc` of one of the deployments ends with its boot. ostree-prepare-root(1) */
export async function requireLastingEtc(sysroot: string, deployments: readonly ListedDeployment[]): Promise<void> {
  for (const deployment of deployments) {
    const folder = deploymentPath(sysroot, deployment);
    for (const name of PREPARE_ROOT_FILES) {
      const text = await readIfPresent(join(folder, name));
      if (text === undefined) continue;
      if (parseRootSettings(text).transientEtc) throw lost(deployment);
      break;
    }
  }
}

function lost({ booted, checksum }: ListedDeployment): AgentError {
  const which = booted ? 'of the system that runs' : `of the staged ${checksum}`;
  return new AgentError(
    'HostUnsupported',
    `The /etc ${which} is transient ([etc] transient in its prepare-root.conf): the guard of spec.health.hostRollback would not be there after the reboot. Take hostRollback out of the OSImage, or build images without that setting.`,
  );
}
