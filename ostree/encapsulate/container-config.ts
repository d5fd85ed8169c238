/**
 * The `config` member of an image's config: what runs in a container, and how.
 *
 * Source: OCI image specification, "Image configuration".
 */
import { OstreeError } from '../errors.ts';

export interface ContainerConfig {
  readonly Labels?: Readonly<Record<string, string>>;
  readonly [key: string]: unknown;
}

const isText = (value: unknown): boolean => typeof value === 'string';
const isTexts = (value: unknown): boolean => Array.isArray(value) && value.every(isText);
const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const MEMBERS: Readonly<Record<string, readonly [check: (value: unknown) => boolean, form: string]>> = {
  User: [isText, 'text'],
  WorkingDir: [isText, 'text'],
  StopSignal: [isText, 'text'],
  Env: [isTexts, 'a list of texts'],
  Entrypoint: [isTexts, 'a list of texts'],
  Cmd: [isTexts, 'a list of texts'],
  ExposedPorts: [isObject, 'an object'],
  Volumes: [isObject, 'an object'],
  Labels: [(value) => isObject(value) && Object.values(value).every(isText), 'an object of texts'],
};

/** Members that only the document around it has. */
const OF_THE_IMAGE = ['config', 'rootfs', 'history', 'architecture'];

/**
 * Parses the JSON text of a container configuration.
 * @throws {OstreeError} `InvalidData`, naming the member that is wrong; members that the specification lacks are refused,
 *   since a misspelt one would be lost without a word.
 */
export function parseContainerConfig(text: string, name: string): ContainerConfig {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new OstreeError('InvalidData', `${name} is not JSON`, { cause });
  }
  if (!isObject(value)) throw new OstreeError('InvalidData', `${name} is not a JSON object`);
  for (const [key, member] of Object.entries(value)) {
    const known = MEMBERS[key];
    if (known === undefined) {
      const hint = OF_THE_IMAGE.includes(key)
        ? 'it looks like the config of a whole image; give its member `config` only'
        : `members are ${Object.keys(MEMBERS).join(', ')}`;
      throw new OstreeError('InvalidData', `${name} has the member ${JSON.stringify(key)}: ${hint}`);
    }
    const [check, form] = known;
    if (!check(member)) throw new OstreeError('InvalidData', `${name}: ${key} must be ${form}`);
  }
  return value;
}
