import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Path;

/** Sends files by the JDK's own client as it is, which offers HTTP/2 by Upgrade: h2c on each new connection. */
class Predict {
  public static void main(String[] arguments) throws Exception {
    URI address = URI.create(arguments[0]);
    for (int i = 1; i < arguments.length; i++) {
      HttpRequest request =
          HttpRequest.newBuilder(address)
              .header("Content-Type", "image/png")
              .POST(HttpRequest.BodyPublishers.ofFile(Path.of(arguments[i])))
              .build();
      HttpClient client = HttpClient.newHttpClient();
      for (int j = 0; j < 2; j++) { // on a new connection, and on one that is kept
        HttpResponse<String> response = client.send(request, HttpResponse.BodyHandlers.ofString());
        System.out.println(response.statusCode() + " " + response.version() + " " + response.body());
      }
    }
  }
}
