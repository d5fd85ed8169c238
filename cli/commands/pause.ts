/** `treeline pause` and `treeline resume`. */
import type { OSImage } from '../../api/index.ts';
import { whoPauses } from '../../operator/rollout/pause.ts';
import { defineCommand } from '../command.ts';
import { CliError } from '../errors.ts';
import { KUBECONFIG_FLAG, changeOSImage } from '../os-image.ts';

/** As the API bounds it. */
const MAX_REASON = 256;

const NAME_FLAG = {
  type: 'string',
  value: 'NAME',
  default: 'by-hand',
  description: 'Who asks: the name of the entry in spec.rollout.pauseRequests, lower case letters, digits and hyphens.',
} as const;

const requestsOf = ({ spec }: OSImage) => spec.rollout.pauseRequests ?? [];

export const pause = defineCommand({
  name: 'pause',
  summary: 'Keep a rollout from taking further nodes.',
  description: [
    'Adds an entry to spec.rollout.pauseRequests of an OSImage, or changes the reason of the one with that name. While there is any entry, no node gets a new slot; nodes that hold one finish, and nodes go on staging. Pauses of others stay as they are. Needs the right to read and patch the OSImage.',
  ],
  args: { OSIMAGE: 'The OSImage.' },
  flags: {
    reason: {
      type: 'string',
      value: 'TEXT',
      default: 'Paused by hand.',
      description: 'Why, for the people who wait (256 characters at most).',
    },
    name: NAME_FLAG,
    kubeconfig: KUBECONFIG_FLAG,
  },
  examples: [
    'treeline pause workers --reason "Ceph is rebalancing until Thursday."',
    'treeline pause workers --name storage',
  ],
  run: async ({ flags, args, output, signal, environment }) => {
    const { name, reason } = flags;
    checkName(name);
    if (reason === '' || reason.length > MAX_REASON)
      throw new CliError('Usage', `--reason takes 1 to ${MAX_REASON} characters`);
    await changeOSImage(args.OSIMAGE, flags.kubeconfig, { environment, signal }, (image) => {
      const others = requestsOf(image).filter((one) => one.name !== name);
      return { spec: { rollout: { pauseRequests: [...others, { name, reason }] } }, result: undefined };
    });
    output.result(
      { image: args.OSIMAGE, name, reason },
      `OSImage ${args.OSIMAGE} is paused by ${name}: ${reason} \`${resumeLine(args.OSIMAGE, name)}\` ends it.`,
    );
    return 0;
  },
});

export const resume = defineCommand({
  name: 'resume',
  summary: 'Take back a pause of a rollout.',
  description: [
    'Removes the entry with the given name from spec.rollout.pauseRequests of an OSImage. The rollout goes on when nobody pauses it any more: who still does is told. Pauses of others, and spec.rollout.paused, stay as they are. Needs the right to read and patch the OSImage.',
    'The exit status is 0 when the entry is gone, and 1 when there was none.',
  ],
  args: { OSIMAGE: 'The OSImage.' },
  flags: { name: NAME_FLAG, kubeconfig: KUBECONFIG_FLAG },
  examples: ['treeline resume workers', 'treeline resume workers --name storage'],
  run: async ({ flags, args, output, signal, environment }) => {
    const { name } = flags;
    checkName(name);
    const still = await changeOSImage(args.OSIMAGE, flags.kubeconfig, { environment, signal }, (image) => {
      const pauseRequests = requestsOf(image).filter((one) => one.name !== name);
      const { rollout } = image.spec;
      const rest = whoPauses({ ...image, spec: { ...image.spec, rollout: { ...rollout, pauseRequests } } });
      if (pauseRequests.length === requestsOf(image).length) {
        const others = rest === undefined ? 'nobody pauses it' : `it is paused: ${rest}`;
        throw new CliError('NothingWaits', `OSImage ${args.OSIMAGE} has no pause of ${name}; ${others}.`);
      }
      return { spec: { rollout: { pauseRequests } }, result: rest };
    });
    const rest = still === undefined ? 'it goes on' : `it is still paused: ${still}`;
    output.result(
      { image: args.OSIMAGE, name, paused: still !== undefined },
      `The pause of ${name} is taken off OSImage ${args.OSIMAGE}; ${rest}.`,
    );
    return 0;
  },
});

function resumeLine(image: string, name: string): string {
  return `treeline resume ${image}${name === NAME_FLAG.default ? '' : ` --name ${name}`}`;
}

function checkName(name: string): void {
  if (!/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(name))
    throw new CliError('Usage', `--name takes lower case letters, digits and hyphens, not ${name}`);
}
