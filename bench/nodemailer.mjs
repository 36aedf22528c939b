// The newsletter by Nodemailer, which Rocket.Chat uses:
//   node nodemailer.mjs pool COUNT CONNECTIONS PORT | compose COUNT | files COUNT FOLDER      < newsletter as JSON
// prints wall and CPU seconds from the first message to the last reply.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import nodemailer from "nodemailer";
import MailComposer from "nodemailer/lib/mail-composer/index.js";

const [, , what, countText, ...rest] = process.argv;
const count = Number(countText);
const { newsletter, firstNames, lastNames } = JSON.parse(readFileSync(0, "utf8"));

function message(n) {
  const id = `user${String(n).padStart(7, "0")}`;
  const first = firstNames[n % firstNames.length];
  const last = lastNames[n % lastNames.length];
  const name = `${first} ${last}`;
  const address = `${id}@example.com`;
  const link = `${newsletter.siteUrl}/mailer/unsubscribe/${id}.${"s".repeat(43)}`;
  const values = {
    "[name]": name, "[fname]": first, "[lname]": last, "[email]": address,
    "[unsubscribe]": link, "[Site_Name]": newsletter.siteName, "[Site_URL]": newsletter.siteUrl,
  };
  const filled = (text) => Object.entries(values).reduce((done, [key, value]) => done.replaceAll(key, () => value), text);
  return {
    from: { name: newsletter.senderName, address: newsletter.sender },
    to: { name, address },
    subject: filled(newsletter.subject),
    text: filled(newsletter.text),
    html: filled(newsletter.html),
    headers: {
      "List-Unsubscribe": { prepared: true, value: `<${link}>` },
      "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
      Precedence: "bulk",
    },
  };
}

const composed = (n) => new Promise((resolve, reject) => {
  new MailComposer(message(n)).compile().build((error, content) => (error ? reject(error) : resolve(content)));
});

// Messages are handed over whenever the pool is idle, as its documentation shows, so memory stays flat.
function pool(connections, port) {
  const transport = nodemailer.createTransport({
    pool: true, maxConnections: connections, maxMessages: Infinity,
    host: "127.0.0.1", port, secure: false, ignoreTLS: true,
  });
  return new Promise((resolve, reject) => {
    let next = 0;
    let done = 0;
    const feed = () => {
      while (next < count && transport.isIdle()) {
        transport.sendMail(message(next++)).then(() => { if (++done === count) { transport.close(); resolve(); } }, reject);
      }
    };
    transport.on("idle", feed);
    feed();
  });
}

async function compose() {
  for (let n = 0; n < count; n++) await composed(n);
}

async function files(folder) {
  for (let n = 0; n < count; n++) writeFileSync(join(folder, `${n}.eml`), await composed(n));
}

const begun = performance.now();
const cpu = process.cpuUsage();
if (what === "pool") await pool(Number(rest[0]), Number(rest[1]));
else if (what === "compose") await compose();
else await files(rest[0]);
const used = process.cpuUsage(cpu);
console.log(JSON.stringify({ seconds: (performance.now() - begun) / 1000, cpu: (used.user + used.system) / 1e6 }));
