from peluche.cli.main import main

main()
