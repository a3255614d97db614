// Regular expressions of JSON Schema's formats.  Each allows texts of that format only; of the larger ones (addresses
// of hosts, mail, pages) plain specimens.

const LEAP = "([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)";
const MONTH_DAY =
  "((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))";
const YEAR = "([1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])";
const DATE = `(${YEAR}-${MONTH_DAY}|${LEAP}-02-29)`;
const CLOCK = "([01][0-9]|2[0-3]):[0-5][0-9]";
const TIME = `${CLOCK}:[0-5][0-9](\\.[0-9]{1,6})?(Z|[+-]${CLOCK})`;
const BYTE = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
const LABEL = "[a-z]([a-z0-9]|-[a-z0-9]){0,15}";
const HOST = `${LABEL}(\\.${LABEL}){0,5}`;

export const FORMATS = {
  date: DATE,
  time: TIME,
  "date-time": `${DATE}T${TIME}`,
  uuid: "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
  ipv4: `${BYTE}(\\.${BYTE}){3}`,
  ipv6: "[0-9a-f]{1,4}(:[0-9a-f]{1,4}){7}",
  hostname: HOST,
  email: `[A-Za-z0-9_+-]+(\\.[A-Za-z0-9_+-]+)*@${HOST}`,
  uri: `https?://${HOST}(:[1-9][0-9]{0,3})?(/[A-Za-z0-9._~-]*)*(\\?[A-Za-z0-9._~=&-]*)?`,
};
