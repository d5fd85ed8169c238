/** By which names a host may ask for its reboot: that of its Node, its machine id, or the id that Zincati makes of it. */
import { createHmac } from 'node:crypto';

/** Zincati's application id (coreos/zincati, src/identity/mod.rs). */
const ZINCATI = Buffer.from('de35106b6ec24688b63afddaa156679b', 'hex');

/**
 * The application-specific id of `machineID` (32 hex digits, with or without dashes), as sd_id128_get_machine_app_specific(3)
 * makes it; undefined for what is no machine id.
 */
export function appSpecificID(machineID: string, application: Buffer): string | undefined {
  const hex = machineID.replaceAll('-', '').toLowerCase();
  if (!/^[0-9a-f]{32}$/.test(hex)) return undefined;
  const id = createHmac('sha256', Buffer.from(hex, 'hex')).update(application).digest().subarray(0, 16);
  // A UUID of version 4 and of the variant of RFC 9562.
  id.writeUInt8((id.readUInt8(6) & 0x0f) | 0x40, 6);
  id.writeUInt8((id.readUInt8(8) & 0x3f) | 0x80, 8);
  return id.toString('hex');
}

/** True when `id` names the node `name` with `machineID`. */
export function isClient(id: string, name: string, machineID: string | undefined): boolean {
  if (id === name) return true;
  if (machineID === undefined) return false;
  const given = id.replaceAll('-', '').toLowerCase();
  return given === machineID.replaceAll('-', '').toLowerCase() || given === appSpecificID(machineID, ZINCATI);
}
