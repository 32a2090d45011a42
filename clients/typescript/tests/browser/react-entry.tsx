import { createRoot, hydrateRoot } from "react-dom/client";
import { createClient, type User } from "../../src/index.js";
import { App } from "./react-page.js";

const client = createClient();
/** Renders the page of react-page.tsx, or takes over what a server has rendered for `user`. */
const mount = (html?: string, user?: User | null) => {
  const root = document.createElement("main");
  document.body.append(root);
  if (html === undefined) return createRoot(root).render(<App client={client} />);
  root.innerHTML = html;
  hydrateRoot(root, <App client={client} initialUser={user} />);
};
Object.assign(window, { client, mount });
document.documentElement.dataset["isReady"] = "yes";
