
const form = document.querySelector("form");
const said = document.querySelector("output");
const token = location.hash.slice(1);
history.replaceState(null, "", location.pathname);
if (!token) {
  said.textContent = "This link is not complete. Copy the whole address that Portcullis printed.";
  form.hidden = true;
}
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const body = { ...Object.fromEntries(new FormData(form)), token };
  const response = await fetch("/api/v1/auth/first-administrator", {
    method: "POST",
    credentials: "omit",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  const answer = await response.json();
  if (response.ok) {
    form.hidden = true;
    said.textContent = `${answer.data.user.email} is now the administrator. You may sign in.`;
  } else {
    said.textContent = [answer.message, ...(answer.details?.body ?? [])].join(" ");
  }
});
