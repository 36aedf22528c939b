// One conversation of Mailpit's client library with the mailbox; prints what it was told as JSON.
// Its argument is JSON: url, userId, token, and subject, which is waited for.

import { MailpitClient } from "mailpit-api";

const wanted = JSON.parse(process.argv[2]);
const mailpit = new MailpitClient(wanted.url, { auth: { username: wanted.userId, password: wanted.token } });
const nobody = new MailpitClient(wanted.url, { auth: { username: wanted.userId, password: "wrong" } });
const query = `subject:"${wanted.subject}"`;
const told = {};

async function refusal(call) {
  try {
    await call();
    return "";
  } catch (error) {
    return error.message;
  }
}

told.found = await mailpit.waitForMessage({ query }, { timeout: 20000, interval: 100 });
told.several = await mailpit.waitForMessages({ query, count: 3, exact: true }, { timeout: 20000, interval: 100 });
told.list = await mailpit.listMessages(0, 2);
told.search = await mailpit.searchMessages({ query: "to:user00001 is:unread", start: 0, limit: 10, tz: "Europe/Vienna" });
told.latest = await mailpit.getMessageSummary();
told.headers = await mailpit.getMessageHeaders(told.found.ID);
told.source = await mailpit.getMessageSource(told.found.ID);
told.links = await mailpit.linkCheck(told.found.ID, false);
told.html = await mailpit.htmlCheck(told.found.ID);
told.marked = await mailpit.setReadStatus({ Read: true });
told.unread = (await mailpit.searchMessages({ query: "is:unread" })).messages_count;
told.info = await mailpit.getInfo();
told.one = await mailpit.deleteMessages({ IDs: [told.found.ID] });
told.left = (await mailpit.listMessages()).total;
told.bySearch = await mailpit.deleteMessagesBySearch({ query: "to:user00000" });
told.all = await mailpit.deleteMessages();
told.empty = await mailpit.listMessages();
told.gone = await refusal(() => mailpit.getMessageSummary(told.found.ID));
told.refused = await refusal(() => nobody.listMessages());
console.log(JSON.stringify(told));
