// Uses the clients that openapi-generator makes for TypeScript (fetch) of both documents: API CONSOLE KEY.
import * as api from './api/index.js';
import * as reading from './console/index.js';

declare const process: { argv: string[] };

/** More than 32 bits. */
const MINOR = 5_000_000_000;

function check(holds: boolean, what: string, found: unknown): void {
  if (!holds) throw new Error(`${what}: ${JSON.stringify(found)}`);
}

const [apiUrl, consoleUrl, key] = process.argv.slice(2);
const configuration = new api.Configuration({ basePath: apiUrl, accessToken: key });
const links = new api.LinksApi(configuration);
const events = new api.EventsApi(configuration);

await links.createLinks({
  program: 'p',
  linkCreate: {
    host: 'go.example',
    code: 'from-typescript',
    referrer: 'ann',
    channel: 'email',
    destination: 'https://shop.example/typescript',
  },
});
const link: api.Link = await links.showLink({ program: 'p', host: 'go.example', code: 'from-typescript' });
check(link.referrer === 'ann' && link.channel === 'email', 'the link', link);

const lead: api.Lead = {
  type: 'lead',
  program: 'p',
  id: 'lead of typescript',
  lead: 'typescript',
  code: 'from-typescript',
};
const answer = await events.send({ event: lead });
check('status' in answer && answer.status === 'accepted', 'the answer', answer);
const order: api.Qualification = {
  type: 'qualification',
  program: 'p',
  id: 'order of typescript',
  name: 'purchase',
  lead: 'typescript',
  value: { minor: MINOR, currency: 'EUR' },
};
const outcomes: api.EventOutcomes = await events.sendBatch({ event: [order, lead] });
check(outcomes.accepted === 2 && outcomes.results.length === 2, 'the outcomes', outcomes);
const refused = await events.send({ event: { type: 'lead', program: 'p', id: "nobody's" } }).catch((error) => error);
check(refused instanceof api.ResponseError && refused.response.status === 422, 'a lead of nobody', refused);

const people = new reading.PeopleApi(new reading.Configuration({ basePath: consoleUrl, accessToken: key }));
const reports = new reading.ReportsApi(new reading.Configuration({ basePath: consoleUrl, accessToken: key }));
const deadline = Date.now() + 240_000;
for (;;) {
  const page: reading.StatusPage = await people.status({ program: 'p', referrer: 'ann' });
  const found = page.items.find((item) => item.lead === 'typescript');
  if (found?.valueMinor['EUR'] === MINOR) break;
  check(Date.now() < deadline, "the lead's state", page.items);
  await new Promise((resolve) => setTimeout(resolve, 100));
}
await reports.topReferrers({ program: 'p' });
console.log('typescript: sent and read back');
