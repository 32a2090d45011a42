<?php
// The application of the matrix on PHP-FPM behind nginx.
ini_set('zlib.output_compression', '0');
set_time_limit(0);
while (ob_get_level() > 0) {
    ob_end_flush();
}
$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);

switch (true) {
    case $path === '/hello':
        header('Content-Type: text/plain');
        header('Content-Length: 6');
        echo "hello\n";
        break;
    case $path === '/inspect':
        $hash = hash_init('sha256');
        $bytes = 0;
        $body = fopen('php://input', 'rb');
        while (($piece = fread($body, 65536)) !== false && $piece !== '') {
            hash_update($hash, $piece);
            $bytes += strlen($piece);
            usleep(1000 * (int) ($_GET['pause'] ?? 0));
        }
        $headers = [];
        foreach ($_SERVER as $name => $value) {
            if (str_starts_with($name, 'HTTP_')) {
                $headers[] = [$name, $value];
            }
        }
        header('Content-Type: application/json');
        echo json_encode([
            'method' => $_SERVER['REQUEST_METHOD'],
            'headers' => $headers,
            'bytes' => $bytes,
            'sha256' => hash_final($hash),
        ]);
        break;
    case $path === '/hold':
        usleep(1000 * (int) $_GET['ms']);
        header('Content-Type: text/plain');
        echo "held\n";
        break;
    case $path === '/events':
        header('Content-Type: text/event-stream');
        header('Cache-Control: no-store');
        for ($number = 0; ; $number++) {
            echo "data: $number\n\n";
            flush();
            usleep(1000 * (int) $_GET['gap']);
        }
        // no break: the loop ends with the connection
    case str_starts_with($path, '/status/'):
        http_response_code((int) substr($path, 8));
        break;
    case $path === '/download':
        $left = (int) $_GET['bytes'];
        header('Content-Type: application/octet-stream');
        if (isset($_GET['length'])) {
            header("Content-Length: $left");
        }
        $block = str_repeat(implode('', array_map('chr', range(0, 255))), 256);
        for (; $left > 0; $left -= 65536) {
            echo $left < 65536 ? substr($block, 0, $left) : $block;
        }
        break;
    default:
        http_response_code(404);
}
